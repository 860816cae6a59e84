"""What a log says of a server: what it took, and why it did not start."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Observed:
    """What a log says, in bytes; None is what it does not say. Of several workers the first."""

    vllm_version: str | None = None
    model: str | None = None
    gpu: str | None = None
    flags: dict[str, object] = field(default_factory=dict)
    max_num_batched_tokens: int | None = None
    total_bytes: int | None = None
    free_at_start_bytes: int | None = None
    weights_bytes: int | None = None
    activation_bytes: int | None = None
    non_torch_bytes: int | None = None
    consumed_bytes: int | None = None
    estimated_graph_bytes: int | None = None
    cuda_graph_bytes: int | None = None
    kv_cache_bytes: int | None = None
    kv_cache_tokens: int | None = None
    max_concurrency: float | None = None
    started: bool = False
    is_vllm: bool = False
    root_cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a start failed; `code` is stable. `engine`: whose message it is, where only one writes it so."""

    code: str
    message: str
    engine: str = "vllm"
