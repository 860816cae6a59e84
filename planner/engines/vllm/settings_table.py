"""The rows of the table of settings: what a vLLM command may say of memory. What reads them is in settings.py."""

from __future__ import annotations

from planner.engines.vllm.cache_options import CACHE_SETTINGS
from planner.engines.vllm.dtypes import KV_CACHE_DTYPES
from planner.engines.vllm.settings_adapters import ADAPTERS
from planner.engines.vllm.settings_parallel import OFFLOAD, PARALLEL
from planner.facts.settings import Kind, Setting

SETTINGS = (
    Setting(
        name="tensor_parallel_size",
        flag="--tensor-parallel-size",
        aliases=("-tp",),
        kind=Kind.COUNT,
        default=1,
        always_said=True,
        least=1,
        most=1024,
        help="GPUs that share each layer.",
        place=1,
        short="tp",
    ),
    Setting(
        name="pipeline_parallel_size",
        flag="--pipeline-parallel-size",
        aliases=("-pp",),
        kind=Kind.COUNT,
        default=1,
        least=1,
        most=1024,
        help="Groups of GPUs, some layers each.",
        place=2,
        short="pp",
    ),
    *PARALLEL,
    *OFFLOAD,
    Setting(
        name="max_model_len",
        flag="--max-model-len",
        kind=Kind.TOKENS,
        default=4096,  # vLLM's own is the model's limit
        always_said=True,
        least=1,
        most=1 << 40,
        automatic=("auto", "-1"),  # the longest that fits
        is_shared=True,
        help="32k is 32,768 here, as in --context.",
        place=5,
        short="len",
    ),
    Setting(
        name="gpu_memory_utilization",
        flag="--gpu-memory-utilization",
        kind=Kind.SHARE,
        default=0.92,
        earlier=(("0.20", 0.90),),  # config/cache.py
        always_said=True,
        help="The share of a GPU's memory that vLLM takes.",
        place=4,
    ),
    Setting(
        name="kv_cache_dtype",
        flag="--kv-cache-dtype",
        kind=Kind.TEXT,
        default="auto",
        choices=KV_CACHE_DTYPES,
        is_shared=True,
        help=f"{', '.join(KV_CACHE_DTYPES)}.",
        place=8,
    ),
    Setting(name="kv_cache_memory_bytes", flag="--kv-cache-memory-bytes", kind=Kind.BYTES, least=1, most=1 << 50, help="The cache's size, e.g. 8GiB."),
    Setting(name="max_cudagraph_capture_size", flag="--max-cudagraph-capture-size", kind=Kind.COUNT, is_pin=False),
    Setting(
        name="max_num_seqs",
        flag="--max-num-seqs",
        kind=Kind.COUNT,
        default=256,  # vLLM's own depends on the GPU (rules.default_batches)
        always_said=True,
        least=1,
        most=100_000,
        help="Requests at once.",
        place=6,
        short="seqs",
    ),
    Setting(
        name="max_num_batched_tokens",
        flag="--max-num-batched-tokens",
        kind=Kind.COUNT,
        default=2048,  # vLLM's own depends on the GPU (rules.default_batches)
        always_said=True,
        least=1,
        most=10_000_000,
        help="Tokens of one step.",
        place=7,
    ),
    Setting(
        name="enforce_eager",
        flag="--enforce-eager",
        off=("--no-enforce-eager",),
        kind=Kind.SWITCH,
        default=False,
        help="Without CUDA graphs, or with them.",
        place=9,
    ),
    Setting(
        name="enable_expert_parallel",
        flag="--enable-expert-parallel",
        kind=Kind.SWITCH,
        default=False,
        unpinned=False,
        help="Whole experts on each GPU.",
    ),
    Setting(
        name="skip_mm_profiling",
        flag="--skip-mm-profiling",
        kind=Kind.SWITCH,
        default=False,
        unpinned=False,
        help="Leave the vision tower's profiling peak out of the budget, as vLLM's flag does.",
    ),
    Setting(
        name="dtype",
        flag="--dtype",
        kind=Kind.TEXT,
        default="auto",
        choices=("auto", "bfloat16", "float16", "half", "float32"),
        unpinned="auto",
        help="Of the weights.",
    ),
    Setting(
        name="quantization",
        flag="--quantization",
        kind=Kind.TEXT,
        is_shared=True,
        group="Question",
        help="fp8, fp8_per_block or fp8_per_channel, while loading.",
    ),
    Setting(
        name="performance_mode",
        flag="--performance-mode",
        kind=Kind.TEXT,
        default="balanced",
        choices=("balanced", "interactivity", "throughput"),
        is_pin=False,
    ),
    Setting(
        name="enable_chunked_prefill",
        flag="--enable-chunked-prefill",
        off=("--no-enable-chunked-prefill",),
        kind=Kind.SWITCH,
        is_pin=False,
    ),
    *ADAPTERS,
    *CACHE_SETTINGS,
)
