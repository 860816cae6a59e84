"""Parts of the JSON contract: the model, the hardware, the engine, the ledger, what to start, what to know."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from planner.facts.verdict import Verdict
from planner.version import VERSION

SCHEMA: Literal[2] = 2
"""The version of the contract; docs/json.md says when it rises."""


class AnswerJson(TypedDict):
    """What every answer begins with: the version of the contract, and the release of `plan` that made it."""

    schema: Literal[2]
    plan_version: str


HEAD: AnswerJson = {"schema": SCHEMA, "plan_version": VERSION}
"""What every answer begins with."""


class ModelJson(TypedDict):
    """The planned model."""

    id: str
    architecture: str
    quantization: str | None
    max_position_embeddings: int


class HardwareJson(TypedDict):
    """The GPUs; `memory_total_bytes` is what the driver reports, `cuda_total_estimated` whether nobody measured what CUDA sees of it."""

    gpu: str
    count: int
    nodes: int
    host: str
    memory_total_bytes: int
    cuda_total_bytes: int
    cuda_total_estimated: bool
    free_at_start_bytes: int


class EngineJson(TypedDict):
    """The engine whose rules were applied."""

    name: str
    version: str
    attention_backend: str


class SettingsJson(TypedDict, total=False):
    """The settings, named as the engine's flags; an engine leaves out those that it does not have, and may have more."""

    tensor_parallel_size: int
    pipeline_parallel_size: int
    gpu_memory_utilization: float
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_cache_dtype: str
    enforce_eager: bool
    context: int
    parallel: int
    kv_cache_type: str
    flash_attention: bool
    batch: int
    gpu_layers: int
    gpus: int
    kv_bits: int
    prefill_step_size: int


class LineJson(TypedDict):
    """One term of the ledger: exact, calibrated, derived or estimated."""

    key: str
    name: str
    bytes: int
    low_bytes: int
    high_bytes: int
    how: str
    note: str


class MemoryJson(TypedDict):
    """The ledger of the fullest GPU; an engine leaves out what it does not have. `total_bytes` is what its process takes of one GPU."""

    lines: list[LineJson]
    total_bytes: int
    total_bytes_low: int
    total_bytes_high: int
    weights_bytes: NotRequired[int]
    kv_cache_bytes: NotRequired[int]
    requested_bytes: NotRequired[int]
    buffers_bytes: NotRequired[int]
    activation_bytes: NotRequired[int]
    non_torch_bytes: NotRequired[int]
    cuda_graph_bytes: NotRequired[int]
    kv_cache_bytes_low: NotRequired[int]
    kv_cache_bytes_high: NotRequired[int]
    kv_block_bytes: NotRequired[int]
    kv_cache_blocks: NotRequired[int]
    kv_cache_tokens: NotRequired[int]
    max_concurrency: NotRequired[float]
    kv_cache_needed_bytes: NotRequired[int]
    longest_max_model_len: NotRequired[int]
    available_bytes: NotRequired[int]
    used_bytes: NotRequired[int]
    used_bytes_low: NotRequired[int]
    used_bytes_high: NotRequired[int]
    host_bytes: NotRequired[int]


class CommandJson(TypedDict):
    """A command to run, with what it needs in its environment."""

    service: str
    argv: list[str]
    env: dict[str, str]


class WarningJson(TypedDict):
    """Something to know."""

    code: str
    message: str


class RejectionJson(TypedDict):
    """Why it does not start."""

    code: str
    message: str
    short_by_bytes: int


class AlternativeJson(TypedDict):
    """A checked change that meets the requirements; `command` asks the whole question so (empty where only a stack file can)."""

    change: str
    arguments: str
    verdict: Verdict
    command: str


class ProblemJson(TypedDict):
    """Something that keeps a command from starting."""

    code: str
    message: str
    fix: str
