"""The speed of one user of llama.cpp, Ollama or MLX: the same roofline with the bytes that these runtimes store.

Their figures in the fit are of one user alone, whole on the GPU; of several users, and of layers on the CPU, nothing is said.
"""

from __future__ import annotations

from dataclasses import replace

from planner.engines.work import cache_reads
from planner.facts.config import CacheLayout
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.speed import Load, NoSpeed, Range, SpeedEstimate, significant
from planner.facts.storage import Arithmetic
from planner.speed.estimate import factor, grade, no_answers, no_bandwidth
from planner.speed.roofline import prompt_s, rates, step
from planner.speed.work import Weights, Work, peak, shape_of


def local_work(engine: str, model: ModelSpec, gpu: GpuSpec, held: Weights, *, stages: int = 1, kv_bits: int = 16, widened: bool = True) -> Work | NoSpeed:
    """What a GPU does for one of these runtimes (`llamacpp` or `mlx`), or why that is not known."""
    best = peak(gpu, Arithmetic.BF16, "nvlink" if gpu.nvlink else "pcie5", gpu.link_bytes_per_s)
    if best is None:
        return no_bandwidth(gpu)
    if engine == "llamacpp" and best.computes and "int8" in dict(gpu.dense_flops):
        best = replace(best, flops=dict(gpu.dense_flops)["int8"] // 2)  # sums in 16 bits, or int8 products: GeForce halves neither
    read = cache_reads(model, 1, CacheLayout(backend="", bits=kv_bits))
    return Work(
        engine=engine, weights=held, reads=read, peak=best, shape=shape_of(model), tensor_parallel_size=1, stages=stages, weight_only=widened
    )  # fmt: skip


def local_estimate(work: Work, model: ModelSpec, group: GpuGroup, context: int, asked: Load) -> SpeedEstimate | NoSpeed:
    """One user with the asked prompt and output; only the decoding where the GPU's arithmetic is not known."""
    if refusal := no_answers(model):
        return refusal
    if beyond := asked.beyond(context):
        return NoSpeed(beyond)
    if (asked.concurrency or 1) > 1:
        return NoSpeed(f"{asked.concurrency} requests at once were not measured here with this engine, only one alone (--concurrency 1)")
    prompt, answer = asked.lengths(context)
    rate, kind = rates(work), f"{work.peak.kind} {work.engine}"
    rank, because = grade(work, model.name, replace(group, gpu=replace(group.gpu, calibrated_speed=None)))  # plan bench measures vLLM
    token = step(work, rate, 1.0, work.cache_bytes(prompt + answer / 2))
    first = prompt_s(work, rate, float(prompt), work.attention_flops(float(prompt))) + token.total_s
    decoding, waiting = factor(kind, rank, ("decode", "tpot")), factor(kind, rank, ("ttft", "prompt"))
    speed = Range(*(significant(1 / (token.total_s * wide)) for wide in (decoding, 1.0, 1 / decoding)))
    whole = work.peak.computes
    first_token = Range(*(significant(first * wide) for wide in (waiting, 1.0, 1 / waiting))) if whole else None
    return SpeedEstimate(
        grade=rank,
        because=because,
        prompt_tokens=prompt,
        answer_tokens=answer,
        users=1,
        tokens_per_s=speed,
        total_tokens_per_s=speed if whole else None,
        time_to_first_token_s=first_token,
        tpot_s=Range(*(significant(token.total_s * wide) for wide in (decoding, 1.0, 1 / decoding))),
        ttft_s=first_token,
        bound_by=token.longest,
    )
