"""What parts outside the ledger may take or spare at most: where the answer is the same at both ends it is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.engines.vllm.changes import request_with
from planner.engines.vllm.choice import Request
from planner.engines.vllm.ledger import MemoryBreakdown
from planner.engines.vllm.not_covered_models import STAGED
from planner.engines.vllm.rules import BITSANDBYTES
from planner.engines.vllm.search import evaluate
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.speculation import FLAG as SPECULATION
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.not_covered import NotCovered
from planner.facts.plan import Plan
from planner.units import GIB, MIB

# Kernels store the same bits and differ in scales, padding and copies of them: gpt-oss-120b lies in 60.8 GiB as created, in 64.4 by Triton's
# kernels and in 66.0 by Marlin's. A tenth of the weights holds all that were seen. bitsandbytes unpacks one matrix at a time beside that.
KERNELS = ("--moe-backend", "--linear-backend")
KERNELS_SHARE = 0.1
# Buffers of vLLM's own all-reduce and of symmetric memory: outside torch eight H100 took 2.1 GiB, cards without them 0.7.
ALL_REDUCE = ("--disable-custom-all-reduce",)
ALL_REDUCE_BYTES = int(2.5 * GIB)
# ROCm's quick reduction: two buffers of its largest message, 2 GiB (csrc/quickreduce/quick_reduce.h kMaxProblemSize), and a flag for each of their tiles.
QUICK_REDUCE = "VLLM_ROCM_QUICK_REDUCE_QUANTIZATION"
QUICK_REDUCE_BYTES = 4 * GIB + 16 * MIB
# LMCache copies the cache by way of one chunk on the GPU (lmcache/v1/gpu_connector): 256 tokens, unless its own configuration says another number.
LMCACHE, LMCACHE_TOKENS = f"--kv-transfer-config {STAGED}", 2048
# Drafters that nobody here knows, in layers of their target at most, with words and an output head of their own beside them: EAGLE's are one layer,
# those that a checkpoint of DeepSeek V4 brings three (models/deepseek_v4/nvidia/dspark.py).
DRAFTED_LAYERS = {"eagle": 2, "eagle3": 2, "dspark": 4}
# Blocks of sparse attention hold whole rows whatever their size: less than a row of each is padded (v1/attention/backends/mla/sparse_utils.py).
SPARSE_BLOCKS_SHARE = 0.05


def bounded(part: NotCovered, ledger: MemoryBreakdown, group: GpuGroup, model: ModelSpec) -> NotCovered:
    """A part with what it may take or spare at most, where something bounds it."""
    if part.flag.partition("=")[0] == QUICK_REDUCE:
        return replace(part, most_bytes=QUICK_REDUCE_BYTES)
    if part.flag == SPECULATION:
        return replace(part, most_bytes=_drafter_bytes(ledger, model))
    if part.flag == "--block-size" and model.is_sparse:
        return replace(part, most_bytes=int(SPARSE_BLOCKS_SHARE * ledger.kv_cache_needed_bytes))
    if part.flag == f"--quantization {BITSANDBYTES}":
        return replace(part, most_bytes=int(KERNELS_SHARE * ledger.weights_bytes) + 4 * model.intermediate_size * model.hidden_size)
    if part.flag == LMCACHE and ledger.kv_cache_tokens > 0:
        return replace(part, most_bytes=LMCACHE_TOKENS * ledger.kv_cache_bytes // ledger.kv_cache_tokens)
    if part.flag in KERNELS:
        return replace(part, most_bytes=int(KERNELS_SHARE * ledger.weights_bytes))
    if part.flag in ALL_REDUCE and group.gpu.vendor == "nvidia":
        return replace(part, most_bytes=ALL_REDUCE_BYTES)
    return part


def _drafter_bytes(ledger: MemoryBreakdown, model: ModelSpec) -> int | None:
    """What a drafter takes at most: its layers and their cache, words and head undivided in 16 bits."""
    drafter = model.drafter
    layers = DRAFTED_LAYERS.get(drafter.method) if drafter and not drafter.model else None
    if drafter is None or layers is None or (drafter.method == "dspark" and not model.is_compressed):
        return None
    ends = 2 * 2 * model.vocab_size * model.hidden_size
    return ends + layers * (ledger.weights_bytes + ledger.kv_cache_needed_bytes) // max(1, sum(len(group.indices) for group in model.layers))


def starts_anyway(request: Request, config: ServeConfig, parts: Sequence[NotCovered]) -> bool:
    """Whether a server is expected to start with all that parts may take; false where one is not bounded."""
    most = _most(parts)
    return most is not None and bool(evaluate(request_with(_with_room(request, config, -most), config), config).expected.starts)


def fails_anyway(request: Request, config: ServeConfig, parts: Sequence[NotCovered]) -> bool:
    """Whether not even all that parts may spare lets a server start; false where one is not bounded."""
    most = _most(parts)
    return most is not None and not evaluate(request_with(_with_room(request, config, most), config), config).optimistic.starts


def with_parts(plan: Plan, config: ServeConfig, parts: Sequence[NotCovered]) -> Plan:
    """A plan whose KV cache may be smaller or larger by what bounded parts take or spare; as it was where one is not bounded."""
    if config.kv_cache_memory_bytes is not None or _most(parts) is None:
        return plan
    less = sum(part.most_bytes or 0 for part in parts if part.effect != "lowers")
    more = sum(part.most_bytes or 0 for part in parts if part.effect != "adds")
    if not (less or more):
        return plan
    low, high = int(plan.memory["kv_cache_bytes_low"]) - less, int(plan.memory["kv_cache_bytes_high"]) + more
    note = f"{max(0, low) / GIB:.2f} to {high / GIB:.2f} with what is not in the ledger"
    wider = (replace(line, low_bytes=low, high_bytes=high, note=note) if line.key == "kv_cache" else line for line in plan.lines)
    return replace(plan, memory={**plan.memory, "kv_cache_bytes_low": low, "kv_cache_bytes_high": high}, lines=tuple(wider), binds="")


def _most(parts: Sequence[NotCovered]) -> int | None:
    """The sum of what parts may take or spare."""
    sizes = [part.most_bytes for part in parts]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _with_room(request: Request, config: ServeConfig, more_bytes: int) -> Request:
    """The question on GPUs whose budget is larger by so many bytes."""
    more, gpu = int(more_bytes / config.gpu_memory_utilization), request.group.gpu
    return replace(request, group=replace(request.group, gpu=_larger(gpu, more)))


def _larger(gpu: GpuSpec, more: int) -> GpuSpec:
    def shifted(size: int | None) -> int | None:
        return None if size is None else size + more

    return replace(
        gpu,
        memory_bytes=gpu.memory_bytes + more,
        cuda_total_bytes=gpu.cuda_total_bytes + more,
        most_total_bytes=shifted(gpu.most_total_bytes),
        wsl2_total_bytes=shifted(gpu.wsl2_total_bytes),
        free_at_start_bytes=shifted(gpu.free_at_start_bytes),
        most_free_bytes=shifted(gpu.most_free_bytes),
        wsl2_free_at_start_bytes=shifted(gpu.wsl2_free_at_start_bytes),
    )
