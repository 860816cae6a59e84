"""What a person asks: one machine, and the servers on it, the main one first."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar, Literal, get_args

from planner.facts.record import dataclass
from planner.facts.speed import Load
from planner.units import parse_context, parse_size

HostName = Literal["server", "desktop", "wsl2"]
HOSTS: tuple[HostName, ...] = get_args(HostName)
_FORBID: dict[str, object] = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
class ServiceRow:
    """One server: a model, what is wished of it, what is pinned (named as vLLM's flags)."""

    __pydantic_config__: ClassVar[dict[str, object]] = _FORBID
    model: str
    """A catalogue name, owner/name on the Hub, or a folder with a config.json."""
    name: str | None = None
    """What the service is called: lower case letters, digits and dashes."""
    port: int | None = None
    context: int | str | None = None
    """A number of tokens, or 128k (= 131072)."""
    users: int | None = None
    """How many at once must fit, each at full context."""
    input: int | None = None
    """What the speed is for: tokens of a prompt."""
    output_tokens: int | None = None
    """What the speed is for: tokens of its output."""
    concurrency: int | None = None
    """What the speed is for: requests at once."""
    acceptance_length: float | None = None
    """What the speed is for, where tokens are drafted: tokens that a step gives on average, its own counted (vLLM logs "Mean acceptance length")."""
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    data_parallel_size: int | None = None
    decode_context_parallel_size: int | None = None
    cpu_offload_gb: float | None = None
    max_model_len: int | str | None = None
    gpu_memory_utilization: float | None = None
    kv_cache_dtype: str | None = None
    kv_cache_memory_bytes: int | str | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    enforce_eager: bool | None = None
    enable_expert_parallel: bool = False
    skip_mm_profiling: bool = False
    dtype: str = "auto"
    quantization: str | None = None
    """vLLM's method, a GGUF mix (Q4_K_M), or MLX's (4bit, 8bit-g32, mxfp4)."""
    speculative_config: str | None = None
    """What drafts tokens: mtp:3, ngram:5, eagle3:OWNER/NAME:3, or vLLM's JSON."""
    enable_lora: bool = False
    max_loras: int | None = None
    max_lora_rank: int | None = None
    fully_sharded_loras: bool = False
    gpu_layers: int | None = None
    """Of llama.cpp and Ollama: how many layers lie on the GPU, the output counted as one."""
    parallel: str | None = None
    """Of llama.cpp: how many slots, each with a cache of its own; auto: four that share one."""
    kv_unified: bool | None = None
    """Of llama.cpp: slots share one cache."""
    batch_size: int | None = None
    ubatch_size: int | None = None
    """Of llama.cpp: tokens of a step, which its compute buffer grows with."""
    flash_attn: str | None = None
    """Of llama.cpp: on, off or auto."""
    cache_type_k: str | None = None
    cache_type_v: str | None = None
    split_mode: str | None = None
    """Of llama.cpp: what is split over several GPUs, layers, rows, tensors or nothing."""
    device: str | None = None
    main_gpu: int | None = None
    tensor_split: str | None = None
    """Of llama.cpp: shares of the GPUs, 3,1."""
    cpu_moe: bool | None = None
    n_cpu_moe: int | None = None
    """Of llama.cpp: the first so many layers' experts lie in main memory."""
    override_tensor: str | None = None
    spec_type: str | None = None
    """Of llama.cpp: what drafts, draft-mtp, draft-simple or n-grams."""
    spec_draft_n_max: int | None = None
    model_draft: str | None = None
    """Of llama.cpp: the model that drafts, of the catalogue, of the Hub or a file."""
    n_gpu_layers_draft: int | None = None
    cache_type_k_draft: str | None = None
    cache_type_v_draft: str | None = None
    mmproj: bool | None = None
    """Of llama.cpp: no, where no image is to be read."""
    image_min_tokens: int | None = None
    image_max_tokens: int | None = None
    """Of llama.cpp: the most tokens that an image is made into."""
    engine_version: str | None = None
    """Of llama.cpp: its build, b9842 or v0.5.0."""

    @property
    def load(self) -> Load:
        """What the speed is for."""
        return Load(input=self.input, output_tokens=self.output_tokens, concurrency=self.concurrency, acceptance_length=self.acceptance_length)

    @property
    def context_tokens(self) -> int | None:
        """The context as a number; what came from a file is one already, what a program says may be 128k. Raises ValueError."""
        return parse_context(self.context) if isinstance(self.context, str) else self.context


@dataclass(frozen=True, kw_only=True)
class StackRow:
    """A stack file: one machine and the servers on it, the main one first."""

    __pydantic_config__: ClassVar[dict[str, object]] = _FORBID
    gpu: str
    """A name of the catalogue, several with commas where the cards differ, or custom."""
    services: list[ServiceRow]
    count: int = 1
    nodes: int = 1
    host: HostName = "server"
    bind: str = "127.0.0.1"
    proxy_port: int = 8080
    vllm_version: str | None = None
    engine: str | None = None
    """The runtime; without it vLLM, or MLX on a Mac."""
    link_gb_per_s: float | None = None
    """What an all-reduce between the GPUs reaches: nccl-tests' bus bandwidth in GB/s, where it was measured."""
    power_limit_w: float | None = None
    """What each GPU is held to, in watts (nvidia-smi -pl), where it is."""
    ram: int | str | None = None
    """Main memory of each machine, e.g. 256GiB: what lies there is held against it."""
    vram: int | str | None = None
    """Of a card that is described (gpu: custom): its memory, e.g. 16GiB."""
    bandwidth: float | None = None
    """Of a card that is described: of its memory, in GB/s."""
    compute_capability: str | None = None
    """Of a card that is described: NVIDIA's, e.g. 8.9."""
    vendor: str | None = None
    """Of a card that is described: nvidia, amd or intel."""
    total_gib: float | None = None
    """What CUDA sees of each card in all, as a server's log tells."""
    free_gib: float | None = None
    """What is free of each card when a server starts."""
    wired_limit_mb: int | None = None
    """On a Mac: iogpu.wired_limit_mb, where it was raised."""
    comment: str = field(default="")
    """Anything; it is not read."""

    @property
    def ram_bytes(self) -> int:
        """Main memory of each machine in bytes; 0 where nobody said. Raises ValueError for what is no size."""
        return parse_size(self.ram) if isinstance(self.ram, str) else self.ram or 0
