"""The speed of llama.cpp, Ollama or MLX, of one user and of several: the same roofline with the bytes that these runtimes store.

Their figures in the fit are of one user alone, whole on the GPU, and of llama.cpp decoding for 2 to 8 (docs/speed.md). How long the prompts of
several wait for each other was measured of none of them: it is computed as of vLLM, and said to be extrapolated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from planner.engines.work import cache_reads
from planner.facts.config import CacheLayout
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts, Linear, Module, Tensor
from planner.facts.plan import Plan
from planner.facts.record import dataclass
from planner.facts.speed import Load, NoSpeed, Range, SpeedEstimate, significant
from planner.facts.storage import Arithmetic
from planner.facts.verdict import BoundBy, Grade
from planner.speed.constants import rates
from planner.speed.estimate import Basis, Pace, basis, no_answers, no_bandwidth, no_cap, no_compute, outlooks, waiting
from planner.speed.roofline import step
from planner.speed.work import Peak, Weights, Work, peak, shape_of
from planner.units import gib

VECTOR_BATCH = 8  # llama.cpp on CUDA: MMVQ_MAX_BATCH_SIZE (ggml/src/ggml-cuda/mmvq.cuh of b9842)
EXPERT_ROWS = {"cuda": 128, "metal": 32}  # the widest product of its kernels for quantized experts (mmq_x of ggml-cuda/mmq.cuh, NE21 of kernel_mul_mm_id)
QUANTIZED, WRITTEN, MOVED = 5, 4, 8  # bytes of a value of 32 bits: read and written in 8 bits; written; read and written
MICRO_BATCH = 512  # --ubatch-size unless it is stated


def local_work(
    engine: str,
    model: ModelSpec,
    gpu: GpuSpec,
    held: Weights,
    *,
    stages: int = 1,
    kv_bits: int = 16,
    widened: bool = True,
    batch: int = MICRO_BATCH,
    is_vulkan: bool = False,
) -> Work | NoSpeed:
    """What a GPU does for one of these runtimes (`llamacpp` or `mlx`), or why that is not known."""
    best = peak(gpu, Arithmetic.BF16, on_amd=engine == "llamacpp" and not is_vulkan)
    if best is None:
        return no_bandwidth(gpu)
    if engine == "llamacpp" and best.computes and "int8" in dict(gpu.dense_flops):
        best = _in_llamacpp(best, dict(gpu.dense_flops)["int8"] // 2)
    vectors = VECTOR_BATCH if engine == "llamacpp" and best.kind not in ("apple", "amd") else 0
    read = cache_reads(model, 1, CacheLayout(backend="", bits=kv_bits))
    work = Work(
        engine=engine, weights=held, reads=read, peak=best, shape=shape_of(model), tensor_parallel_size=1, stages=stages, weight_only=widened, vector_batch=vectors
    )  # fmt: skip
    if engine != "llamacpp":
        return work
    rows = EXPERT_ROWS["metal" if best.kind == "apple" else "cuda"]
    return replace(work, in_batches=True, passed_bytes=passed_bytes(model), expert_rows=rows, prompt_batch=batch)


def passed_bytes(model: ModelSpec) -> int:
    """Bytes that a token of a prompt passes between llama.cpp's matrices, all of whose inputs and outputs are of 32 bits.

    What a matrix multiplies is read and written once more in 8 bits, each of its outputs is written, and read and written by what follows it (rotation, activation,
    sum with the stream); in a layer two norms. What a chosen expert gives is weighed and summed beside.
    """
    of_layers = sum(len(group.indices) * sum(_passed(module, model.experts_per_token) for module in group.modules) for group in model.layers)
    return of_layers + 2 * MOVED * model.hidden_size * model.layer_count


def _passed(module: Module, chosen: int) -> int:
    match module:
        case Linear():
            return QUANTIZED * len(module.outputs) * module.inputs.size + (WRITTEN + MOVED) * sum(axis.size for axis in module.outputs)
        case Experts():
            inner = module.shards * module.intermediate
            first = QUANTIZED * module.shards * module.hidden + (WRITTEN + MOVED) * inner
            second = QUANTIZED * module.intermediate + (WRITTEN + 2 * MOVED + WRITTEN) * module.hidden
            return min(chosen, module.experts) * (first + second)
        case Tensor():
            return 0
        case _:
            assert_never(module)


def _in_llamacpp(best: Peak, products: int) -> Peak:
    """The peaks of llama.cpp's kernels: prompts by int8 products, or in 16 bits with sums in 16 bits, of which GeForce halves neither.

    A decoding step multiplies vectors, with other units: where int8 products were cut (B300) it keeps what 16 bits have.
    """
    flops = max(products, int(best.flops))
    return replace(best, flops=flops, prompt_share=products / flops)


# GUESSES: bytes a second that the main memory of a desktop gives its CPU, two channels of DDR4 to fast DDR5; and what part of the bandwidth of a chip with
# one memory its CPU reaches alone. Nobody measured either here.
_HOST_BYTES_PER_S = (30_000_000_000, 55_000_000_000, 80_000_000_000)
_CPU_SHARE = (0.3, 0.5, 0.8)


def host_bytes_per_s(gpu: GpuSpec) -> tuple[int, int, int]:
    """How fast a CPU reads main memory: conservative, expected, optimistic."""
    low, usual, high = (
        (int(gpu.bandwidth_bytes_per_s * share) for share in _CPU_SHARE) if gpu.unified_memory and gpu.bandwidth_bytes_per_s else _HOST_BYTES_PER_S
    )
    return low, usual, high


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalWork:
    """What a step of one of these servers does with a model: on the GPUs, and bytes that each token reads of main memory, with a whole cache there."""

    work: Work
    model: ModelSpec
    host_bytes: int = 0
    host_cache_bytes: int = 0

    @property
    def is_known(self) -> bool:
        """Whether prompts and several users can be told, not only the decoding of one."""
        return self.work.peak.computes and not (self.host_bytes or self.host_cache_bytes)


def local_estimate(known_work: LocalWork, group: GpuGroup, context: int, asked: Load, *, slots: int = 1) -> SpeedEstimate | NoSpeed:
    """The asked prompt and output for one user, and for those at once that have a slot; only the decoding of one where the GPU's arithmetic is not known.

    How fast main memory is read is a guess: where a token reads of it nothing is said of prompts, nor of several users.
    """
    work, model, whole = known_work.work, known_work.model, known_work.is_known
    host_bytes = known_work.host_bytes + known_work.host_cache_bytes
    if refusal := no_answers(model) or no_cap(group):
        return refusal
    if why := asked.beyond(context) or _not_at_once(asked.concurrency or 1, "" if whole else _only_one(group.gpu, host_bytes)):
        return NoSpeed(why)
    prompt, answer = asked.lengths(context)
    host_bytes = known_work.host_bytes + known_work.host_cache_bytes * min(prompt + answer, context) // context
    users = (asked.concurrency or slots) if whole else 1
    known = basis(work, model, group)
    alone = [pace.seen(1, prompt, answer) for pace in outlooks((work, work, work), known, group)]
    near = waiting(_of_several(known), users, slots) if users > 1 else known
    together = [pace.seen(users, prompt, answer, slots) for pace in outlooks((work, work, work), near, group)]
    if host_bytes:
        near = _of_main_memory(known, host_bytes, group.gpu)
    per_token = [seen.per_token_s + host_bytes / rate_s for seen, rate_s in zip(alone, host_bytes_per_s(group.gpu), strict=True)]
    each = Range(*(significant(1 / seconds) for seconds in per_token))
    at_once = per_token if users == 1 else [seen.per_token_s for seen in together]
    return SpeedEstimate(
        grade=near.grade,
        because=near.because,
        prompt_tokens=prompt,
        answer_tokens=answer,
        users=users,
        tokens_per_s=each,
        total_tokens_per_s=(each if users == 1 else Range(*(significant(seen.total_tokens_per_s) for seen in together))) if whole else None,
        time_to_first_token_s=Range(*(significant(seen.first_token_s) for seen in alone)) if whole else None,
        tpot_s=Range(*(significant(seconds) for seconds in at_once)),
        ttft_s=Range(*(significant(seen.first_token_s) for seen in together)) if whole else None,
        bound_by=BoundBy.WEIGHTS if host_bytes else step(work, rates(work), float(min(users, slots)), work.cache_bytes(prompt + answer / 2)).longest,
        prompt_share=together[1].prompt_share if whole else None,
        reads_main_memory=host_bytes > 0,
        at_once=min(users, slots),
    )


def local_paces(plan: Plan) -> tuple[Pace, Pace, Pace] | NoSpeed:
    """A plan of one of these servers at the conservative, the expected and the optimistic outlook of several users, or why prompts cannot be told."""
    known = plan.own
    if not isinstance(known, LocalWork):
        return known if isinstance(known, NoSpeed) else NoSpeed("the server was not planned")
    if refusal := no_answers(known.model) or no_cap(plan.group):
        return refusal
    if not known.is_known:
        return NoSpeed(f"{_only_one(plan.group.gpu, known.host_bytes + known.host_cache_bytes)}, so that the time of a prompt cannot be told")
    works = (known.work, known.work, known.work)
    return outlooks(works, _of_several(basis(known.work, known.model, plan.group)), plan.group)


def _of_several(known: Basis) -> Basis:
    """What stands for several users: what was measured here, else the widest of all classes, since the prompts of several were measured of none."""
    if known.grade is Grade.MEASURED_HERE:
        return known
    because = f"{known.because}; how prompts of several users wait for each other was not measured with this engine"
    return replace(known, grade=Grade.EXTRAPOLATED, because=because, unseen=("class",))


def _of_main_memory(known: Basis, host_bytes: int, gpu: GpuSpec) -> Basis:
    slow, usual, fast = (rate_s // 10**9 for rate_s in host_bytes_per_s(gpu))
    because = f"a guess: main memory at {usual} GB/s ({slow} to {fast}, which nobody measured) reads {gib(host_bytes)} a token; nothing is said of prompts"
    return replace(known, grade=Grade.EXTRAPOLATED, because=because)


def _only_one(gpu: GpuSpec, host_bytes: int) -> str:
    """Why only one request alone can be told."""
    return "a part is read of main memory, whose speed is a guess" if host_bytes else no_compute(gpu)


def _not_at_once(asked: int, only_one: str) -> str:
    """Why so many requests at once cannot be told; empty where they can."""
    return f"{only_one}, so that only one request alone can be told (--concurrency 1)" if asked > 1 and only_one else ""
