"""What is to run where: processes in the order in which they start, and the proxy before them. All that emitters need, and plan.json keeps."""

from __future__ import annotations

import re
from dataclasses import field
from typing import ClassVar, Literal

from planner.errors import PlannerError
from planner.facts.hardware import Vendor
from planner.facts.record import dataclass

PROXY_PORT = 8080
PROMPT_SHARE = 4  # a default of max_tokens leaves three quarters of the context to the prompt: beyond it the server refuses
REASONING_SHARE = 2  # of a model that reasons before it answers: a limit that cuts its thoughts leaves no answer at all


def comment(text: str) -> str:
    """Text that is safe behind a comment sign: on one line."""
    return " ".join(text.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What a model's makers recommend for sampling; None is left to the server. `source` says where they say so."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    max_tokens: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One served model: its process's command and environment, where it listens, which GPUs it uses, and what is known of the model.

    The server knows it as `served_name`, clients of the proxy as `alias`.
    """

    name: str
    task: Literal["chat", "embedding"]
    engine: str
    """The program that serves: a key of its engine's `serving`."""
    version: str
    model: str
    served_name: str
    alias: str
    argv: tuple[str, ...]
    host: str
    port: int
    env: dict[str, str] = field(default_factory=dict)
    health: str = "/health"
    gpus: tuple[int, ...] = ()
    settings: dict[str, int | float | str | bool] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    weights_bytes: int = 0
    is_mistral: bool = False
    has_vision: bool = False
    calls_tools: bool = False
    reasons: bool = False
    needs_nvcc: bool = False
    users: int = 1
    sampling: Sampling = field(default_factory=Sampling)
    slowest_answer_s: int = 0
    """Seconds until the last of `users` at once has a prompt that fills the context answered, at the cautious end; 0 where no speed is said."""

    @property
    def is_process(self) -> bool:
        """Whether it is started by itself; a further model of Ollama's is served by the first one's process."""
        return bool(self.argv)

    @property
    def context(self) -> int | None:
        """Tokens of a prompt and its answer, where the plan says so."""
        return self._whole("max_model_len")

    @property
    def planned_context(self) -> int:
        """The same where it must be known. Raises PlannerError where it is not."""
        if self.context is None:
            raise PlannerError(f"{self.name}: max_model_len is not known", "`plan … --output DIR` writes a plan.json that has it")
        return self.context

    @property
    def hidden_bytes_per_token(self) -> int:
        """Bytes of a token's hidden state, which cross each link between machines; 0 where the plan does not say."""
        return self._whole("hidden_bytes_per_token") or 0

    @property
    def max_num_batched_tokens(self) -> int:
        """Tokens of a full batch; 0 where the plan does not say."""
        return self._whole("max_num_batched_tokens") or 0

    @property
    def gpu_layers_pinned(self) -> int | None:
        """How many layers the question put on the GPU; None where that is left to the engine."""
        return self._whole("gpu_layers_pinned")

    @property
    def default_max_tokens(self) -> int | None:
        """The recommended limit of an answer, as far as the context is divided so; None where nobody recommends one."""
        recommended = self.sampling.max_tokens
        return min(recommended, self._answers_share) if recommended and self.context else recommended

    @property
    def _answers_share(self) -> int:
        """What an answer may have of the context."""
        return max(1, (self.context or PROMPT_SHARE) // (REASONING_SHARE if self.reasons else PROMPT_SHARE))

    @property
    def longest_answer(self) -> int:
        """Tokens of an answer that leave the rest of the context to its prompt: the recommended limit, or its share of the context."""
        return self.default_max_tokens or self._answers_share

    def _whole(self, setting: str) -> int | None:
        value = self.settings.get(setting)
        return value if isinstance(value, int) else None

    @property
    def url(self) -> str:
        """Where this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Processes in the order in which they start; the last is the main one."""

    title: str
    gpu: str
    gpu_title: str
    vendor: Vendor
    count: int
    services: tuple[Service, ...]
    nodes: int = 1
    bind: str = "127.0.0.1"
    proxy_port: int = PROXY_PORT

    @property
    def main(self) -> Service:
        """The service that the question was about."""
        return self.services[-1]

    @property
    def processes(self) -> tuple[Service, ...]:
        """What is started, in order."""
        return tuple(service for service in self.services if service.is_process)

    @property
    def slug(self) -> str:
        """A name for the whole, safe in every format."""
        return re.sub(r"[^A-Za-z0-9_-]+", "-", f"{self.main.alias}-{self.gpu}x{self.count}")
