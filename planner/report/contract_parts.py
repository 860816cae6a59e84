"""Parts of the JSON contract: the model, the hardware, the engine, its settings, the ledger."""

from __future__ import annotations

from typing_extensions import TypedDict


class ModelJson(TypedDict):
    """The planned model."""

    id: str
    architecture: str
    quantization: str | None
    max_position_embeddings: int


class HardwareJson(TypedDict):
    """The GPUs; `memory_total_bytes` is what the driver reports."""

    gpu: str
    count: int
    nodes: int
    host: str
    memory_total_bytes: int
    cuda_total_bytes: int
    free_at_start_bytes: int


class EngineJson(TypedDict):
    """The engine whose rules were applied."""

    name: str
    version: str
    attention_backend: str


class SettingsJson(TypedDict):
    """The settings, named as the engine's flags."""

    tensor_parallel_size: int
    pipeline_parallel_size: int
    gpu_memory_utilization: float
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_cache_dtype: str
    enforce_eager: bool


class MemoryJson(TypedDict):
    """The ledger of the fullest GPU."""

    requested_bytes: int
    weights_bytes: int
    buffers_bytes: int
    activation_bytes: int
    non_torch_bytes: int
    cuda_graph_bytes: int
    kv_cache_bytes: int
    kv_cache_bytes_low: int
    kv_cache_bytes_high: int
    kv_block_bytes: int
    kv_cache_blocks: int
    kv_cache_tokens: int
    max_concurrency: float
    kv_cache_needed_bytes: int
    longest_max_model_len: int
