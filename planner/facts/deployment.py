"""What is to run where: processes in the order in which they start, and the proxy before them. All that emitters need, and plan.json keeps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from planner.engines.vllm.parsers import reasoning_parser, tool_parser
from planner.questions.placement import Placed, Stack
from planner.units import gib, tokens

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


def deployment(stack: Stack, *, bind: str = "127.0.0.1", proxy_port: int = PROXY_PORT, sampling: dict[str, Sampling] | None = None) -> Deployment:
    """What to run for placed vLLM servers."""
    group = stack.group
    recommended = sampling or {}
    return Deployment(
        title=" and ".join(server.plan.repo for server in reversed(stack.servers)) + f" on {group.label}",
        gpu=group.gpu.name,
        gpu_title=group.gpu.title,
        vendor=group.gpu.vendor,  # type: ignore[arg-type]
        count=group.count,
        services=tuple(_service(server, stack, recommended.get(server.name, Sampling())) for server in stack.servers),
        nodes=group.nodes,
        bind=bind,
        proxy_port=proxy_port,
    )


def _service(server: Placed, stack: Stack, sampling: Sampling) -> Service:
    plan, config, ledger = server.plan, server.plan.config, server.plan.choice.expected
    model = plan.model
    return Service(
        name=server.name,
        task="embedding" if model.pooling else "chat",
        engine="vllm",
        version=config.vllm_version,
        model=plan.repo,
        served_name=plan.served_name,
        alias=plan.served_name,
        argv=plan.argv,
        host=plan.host,
        port=plan.port,
        env=_visible(server, stack),
        gpus=server.gpus,
        settings={name: getattr(config, name) for name, _ in plan.choice.reasons} | {"hidden_bytes_per_token": model.hidden_size * model.residual_streams * 2},
        notes=(_capacity(server), *(f"{name}: {reason}" for name, reason in plan.choice.reasons)),
        weights_bytes=ledger.weights_bytes * config.parallel.world_size,
        is_mistral=model.family == "mistral" and not model.pooling,
        has_vision=model.vision is not None,
        calls_tools=not model.pooling and tool_parser(model.chat, config.vllm_version) is not None,
        reasons=not model.pooling and reasoning_parser(model.chat, config.vllm_version) is not None,
        needs_nvcc=plan.needs_nvcc,
        users=plan.request.users or max(1, int(plan.choice.cautious.max_concurrency) if not model.is_encoder else 1),
        sampling=sampling,
    )


def _visible(server: Placed, stack: Stack) -> dict[str, str]:
    """Which GPUs a process sees, where it is not all of them."""
    if len(server.gpus) == stack.group.count:
        return {}
    variable = "HIP_VISIBLE_DEVICES" if stack.group.gpu.vendor == "amd" else "CUDA_VISIBLE_DEVICES"
    return {variable: ",".join(map(str, server.gpus))}


def _capacity(server: Placed) -> str:
    plan, ledger = server.plan, server.plan.choice.expected
    length = tokens(plan.config.max_model_len)
    if plan.model.is_encoder:
        return f"{length} tokens of text; an encoder keeps no KV cache"
    return f"{length} tokens of context, {ledger.max_concurrency:.1f} full-length requests at once, {gib(ledger.kv_cache_bytes)} of KV cache a GPU"
