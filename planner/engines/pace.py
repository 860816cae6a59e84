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
from planner.facts.verdict import BoundBy, Grade
from planner.speed.estimate import basis, no_answers, no_bandwidth
from planner.speed.roofline import prompt_s, rates, step
from planner.speed.work import Weights, Work, peak, shape_of
from planner.units import gib


def local_work(engine: str, model: ModelSpec, gpu: GpuSpec, held: Weights, *, stages: int = 1, kv_bits: int = 16, widened: bool = True) -> Work | NoSpeed:
    """What a GPU does for one of these runtimes (`llamacpp` or `mlx`), or why that is not known."""
    best = peak(gpu, Arithmetic.BF16)
    if best is None:
        return no_bandwidth(gpu)
    if engine == "llamacpp" and best.computes and "int8" in dict(gpu.dense_flops):
        best = replace(best, flops=dict(gpu.dense_flops)["int8"] // 2)  # sums in 16 bits, or int8 products: GeForce halves neither
    read = cache_reads(model, 1, CacheLayout(backend="", bits=kv_bits))
    return Work(
        engine=engine, weights=held, reads=read, peak=best, shape=shape_of(model), tensor_parallel_size=1, stages=stages, weight_only=widened
    )  # fmt: skip


# GUESS: bytes a second that the main memory of a desktop gives, two channels of DDR4 to fast DDR5; nobody measured it here.
HOST_BYTES_PER_S = (30_000_000_000, 55_000_000_000, 80_000_000_000)


def local_estimate(work: Work, model: ModelSpec, group: GpuGroup, context: int, asked: Load, *, host_bytes: int = 0) -> SpeedEstimate | NoSpeed:
    """One user with the asked prompt and output; only the decoding where the GPU's arithmetic is not known.

    `host_bytes` are read of main memory for every token, at a speed that is a guess: nothing is said of prompts then.
    """
    if refusal := no_answers(model):
        return refusal
    if beyond := asked.beyond(context):
        return NoSpeed(beyond)
    if (asked.concurrency or 1) > 1:
        return NoSpeed(f"{asked.concurrency} requests at once were not measured here with this engine, only one alone (--concurrency 1)")
    prompt, answer = asked.lengths(context)
    rate = rates(work)
    known = basis(work, model, replace(group, gpu=replace(group.gpu, calibrated_speed=None)))  # plan bench measures vLLM
    rank, because = known.grade, known.because
    token = step(work, rate, 1.0, work.cache_bytes(prompt + answer / 2))
    first = prompt_s(work, rate, float(prompt), work.attention_flops(float(prompt))) + token.total_s
    decoding, waiting = known.factor(("decode", "tpot")), known.factor(("ttft", "prompt"))
    seconds = [token.total_s * wide + host_bytes / rate_s for wide, rate_s in zip((decoding, 1.0, 1 / decoding), HOST_BYTES_PER_S, strict=True)]
    speed = Range(*(significant(1 / each_s) for each_s in seconds))
    whole = work.peak.computes and not host_bytes
    if host_bytes:
        slow, usual, fast = (rate_s // 10**9 for rate_s in HOST_BYTES_PER_S)
        rank = Grade.EXTRAPOLATED
        because = f"a guess: main memory at {usual} GB/s ({slow} to {fast}, which nobody measured) reads {gib(host_bytes)} a token; nothing is said of prompts"
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
        tpot_s=Range(*(significant(each_s) for each_s in seconds)),
        ttft_s=first_token,
        bound_by=BoundBy.WEIGHTS if host_bytes else token.longest,
    )
