"""What is to run where: processes in the order in which they start, and the proxy before them. All that emitters need, and plan.json keeps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

PROXY_PORT = 8080
Engine = Literal["vllm", "mlx-lm", "mlx-vlm", "ollama", "llama.cpp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What a model's makers recommend for sampling; None is left to the server. `source` says where they say so."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}
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
    engine: Engine
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

    @property
    def is_process(self) -> bool:
        """Whether it is started by itself; a further model of Ollama's is served by the first one's process."""
        return bool(self.argv)

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
    vendor: Literal["nvidia", "amd", "apple"]
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
