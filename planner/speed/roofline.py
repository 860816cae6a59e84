"""A roofline: seconds of a decoding step, of a prompt, and of requests that share a server.

A step reads the weights it needs and every sequence's cache, and waits for kernels to start and ranks to add up their halves:

    weights   = (dense + head + experts x touched) / (bandwidth x share)       touched = 1 - (1 - k/E) ^ (B ^ spread)
    compute   = 2 x (dense + head + experts x k/E) x B / (peak x share)
    step      = root(weights^2 + compute^2) + B x cache / (bandwidth x share) + all-reduces + launches
    prompt    = max(2 x active x I / (peak x share), weights read) + attention + all-reduces

B sequences that arrive as others leave (closed loop): a share q of the other prompts is waited for, which grows with the part of the
machine's time that prompts take. Every share is a product of named constants (speed.json), fitted on published measurements
by `python -m benchmarks.speed_fit`; the derivation is in docs/speed.md.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import cache
from math import prod
from pathlib import Path
from typing import Generic

from planner.arrays import Real, maximum, minimum
from planner.facts.record import dataclass
from planner.facts.verdict import BoundBy
from planner.speed.work import Work

PIPELINE_TOKENS = 512  # llama.cpp's --ubatch-size: stages of a layer split work on different micro-batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates(Generic[Real]):
    """What is reached of each peak (shares), and what each start costs (seconds)."""

    bandwidth_share: Real
    cache_share: Real
    decode_share: Real
    prefill_share: Real
    attention_share: Real
    expert_spread: Real
    layer_s: Real
    module_s: Real
    moe_layer_s: Real
    sequence_s: Real
    all_reduce_s: Real
    link_share: Real
    first_token_s: Real
    steps_before_first: Real
    queue: Real
    queue_load: Real


@dataclass(frozen=True, slots=True, kw_only=True)
class RateNames:
    """The constants (speed.json) whose product each rate is."""

    bandwidth_share: tuple[str, ...]
    cache_share: tuple[str, ...] = ("cache",)
    decode_share: tuple[str, ...] = ("decode",)
    prefill_share: tuple[str, ...]
    attention_share: tuple[str, ...] = ("attention",)
    expert_spread: tuple[str, ...] = ("expert_spread",)
    layer_s: tuple[str, ...]
    module_s: tuple[str, ...] = ("module",)
    moe_layer_s: tuple[str, ...] = ("moe_layer",)
    sequence_s: tuple[str, ...] = ("sequence",)
    all_reduce_s: tuple[str, ...]
    link_share: tuple[str, ...]
    first_token_s: tuple[str, ...]
    steps_before_first: tuple[str, ...] = ("steps_before_first",)
    queue: tuple[str, ...]
    queue_load: tuple[str, ...] = ("queue_load",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What `python -m benchmarks.speed_fit` found. Factors are those within which 80 % of the figures lie that were left out."""

    constants: Mapping[str, float]
    measured: Mapping[str, Mapping[str, Mapping[str, tuple[str, ...]]]]  # forms of weights by engine, GPU and model
    architectures: Mapping[str, tuple[str, ...]]  # by engine
    new_model: Mapping[str, Mapping[str, float]]  # by class ("geforce vllm") and metric
    new_gpu: Mapping[str, Mapping[str, float]]
    new_form: Mapping[str, float]  # by metric
    new_architecture: Mapping[str, float]


@cache
def fitted() -> Fit:
    """The constants and their intervals, from speed.json."""
    loaded = json.loads(Path(__file__).with_name("speed.json").read_text("utf-8"))
    return Fit(
        constants={name: constant["value"] for name, constant in loaded["constants"].items()},
        measured=loaded["measured"],
        architectures=loaded["architectures"],
        **loaded["factors"],
    )


def rate_names(work: Work, constants: Collection[str]) -> RateNames:
    """Which of the constants each rate is the product of, for this server."""
    engine, peak = work.engine, work.peak
    link = "nvlink" if peak.link == "none" else peak.link  # which one rank does not use
    clients = [name.partition(".")[2] for name in constants if name.startswith("queue.")]
    client = engine if engine in clients else clients[0]
    return RateNames(
        bandwidth_share=_bandwidth_names(work, constants),
        decode_share=(_own(constants, "decode", engine if on_cuda(work) else ""),),
        prefill_share=_prefill_names(work, constants),
        layer_s=(_own(constants, f"layer.{engine}", work.era, peak.generation, peak.kind),),
        moe_layer_s=(_own(constants, "moe_layer", engine, peak.low_precision),),
        all_reduce_s=(f"{link}.start",),
        link_share=(f"{link}.share",),
        first_token_s=(f"first_token.{client}",),
        queue=(f"queue.{client}",),
    )


def on_cuda(work: Work) -> bool:
    """Whether llama.cpp's kernels for NVIDIA's cards were measured on such a card: not on a GB10, and elsewhere they are others."""
    return work.peak.kind not in ("apple", "amd", "unified")


def _prefill_names(work: Work, constants: Collection[str]) -> tuple[str, ...]:
    """Of the kind of GPU, of llama.cpp on CUDA its own; and what experts, narrow arithmetic and widening change."""
    engine, peak, moe = work.engine, work.peak, work.shape.moe_layers > 0
    own_kernels = f"prefill.{engine}" in constants and on_cuda(work)
    names = [_own(constants, f"prefill.{engine}", peak.generation, peak.kind) if own_kernels else f"prefill.{peak.kind}"]
    if moe:
        names.append("prefill.moe_datacenter" if peak.kind == "datacenter" and not own_kernels else "prefill.moe")
    if peak.low_precision:
        names.append("prefill.low_precision")
    if work.weight_only and not moe and (own_kernels or peak.kind != "apple"):
        names.append(_own(constants, "prefill.weight_only", engine))
    return tuple(names)


def _own(constants: Collection[str], name: str, *kinds: str) -> str:
    """The constant of an era or a kind of GPU where it has one, else the common one."""
    return next((own for kind in kinds if kind and (own := f"{name}.{kind}") in constants), name)


def _bandwidth_names(work: Work, constants: Collection[str]) -> tuple[str, ...]:
    """Of the engine, and what its kernels and the GPU change."""
    engine, peak = work.engine, work.peak
    names = [f"bandwidth.{engine}"]
    if work.weight_only:
        names.append(_own(constants, "bandwidth.weight_only", *_kernel_families(work)))
    names += [own] if (own := f"bandwidth.{peak.gpu}") in constants else []  # a GPU that is not like the others
    names += [_own(constants, hbm, peak.generation)] if peak.hbm and (hbm := f"bandwidth.{engine}_hbm") in constants else []
    names += [_own(constants, "bandwidth.two_dies", engine)] if peak.gpu.startswith("apple-") and "ultra" in peak.gpu else []
    return tuple(names)


def _kernel_families(work: Work) -> tuple[str, ...]:
    """Whose kernels widen the weights, the narrowest family first: the engine's own, those of experts on the kind of GPU, of experts."""
    return (work.engine, f"moe_{work.peak.kind}", "moe") if work.shape.moe_layers else (work.engine,)


def rates(work: Work) -> Rates:
    """The rates of one server: products of the constants in speed.json."""
    constants = fitted().constants
    names = rate_names(work, constants)

    def product(of: tuple[str, ...]) -> float:
        return prod(constants[name] for name in of)

    return Rates(
        bandwidth_share=product(names.bandwidth_share),
        cache_share=product(names.cache_share),
        decode_share=product(names.decode_share),
        prefill_share=product(names.prefill_share),
        attention_share=product(names.attention_share),
        expert_spread=product(names.expert_spread),
        layer_s=product(names.layer_s),
        module_s=product(names.module_s),
        moe_layer_s=product(names.moe_layer_s),
        sequence_s=product(names.sequence_s),
        all_reduce_s=product(names.all_reduce_s),
        link_share=product(names.link_share),
        first_token_s=product(names.first_token_s),
        steps_before_first=product(names.steps_before_first),
        queue=product(names.queue),
        queue_load=product(names.queue_load),
    )


def _reads_s(work: Work[Real], rate: Rates[Real], touched: Real | int) -> Real:
    held = work.weights
    return (held.dense_bytes + held.head_bytes + held.expert_bytes * touched) / (work.peak.bandwidth_bytes_per_s * rate.bandwidth_share)


def _share_used(work: Work[Real]) -> Real:
    """The part of the experts that one token uses: all of them at most, none where there are none."""
    return minimum(work.shape.experts_per_token, work.shape.experts) / maximum(work.shape.experts, 1)


def _touched(work: Work[Real], rate: Rates[Real], tokens: Real) -> Real:
    """The part of the experts that so many tokens use between them."""
    used: Real = 1 - (1 - _share_used(work)) ** (tokens**rate.expert_spread)
    return used


def _all_reduce_s(work: Work[Real], rate: Rates[Real], tokens: Real) -> Real:
    """Two all-reduces a layer (links.py): 2(n-1)/n of the hidden states pass each link, in 16 bits. Nothing on one rank."""
    ranks = work.tensor_parallel_size
    moved = 2 * (ranks - 1) / ranks * tokens * work.shape.hidden_size * 2
    per_step = rate.all_reduce_s + work.peak.link_start_s + moved / (maximum(work.peak.link_bytes_per_s, 1) * rate.link_share)
    return 2 * work.shape.layers * per_step * minimum(ranks - 1, 1)


def _launches_s(work: Work[Real], rate: Rates[Real]) -> Real:
    """What the kernels of all layers cost before they do anything."""
    return rate.layer_s * work.shape.layers + rate.module_s * work.shape.modules + rate.moe_layer_s * work.shape.moe_layers


@dataclass(frozen=True, slots=True)
class Step(Generic[Real]):
    """Seconds of a decoding step by cause; weights are read while others are multiplied, of which the shorter is hidden in part."""

    weights: Real
    arithmetic: Real
    caches: Real
    all_reduces: Real
    launches: Real

    @property
    def longest(self: Step) -> BoundBy:
        """The term that takes most of it (of numbers, not of arrays)."""
        terms: dict[BoundBy, float] = {
            BoundBy.WEIGHTS: self.weights,
            BoundBy.COMPUTE: self.arithmetic,
            BoundBy.KV_CACHE: self.caches,
            BoundBy.COMMUNICATION: self.all_reduces,
            BoundBy.LAUNCHES: self.launches,
        }
        return max(terms, key=terms.__getitem__)

    @property
    def total_s(self) -> Real:
        """The whole step."""
        multiplied: Real = (self.weights**2 + self.arithmetic**2) ** 0.5
        return multiplied + self.caches + self.all_reduces + self.launches


def _decode_share(work: Work[Real], rate: Rates[Real], sequences: Real) -> Real:
    """What a batch reaches: as vectors do, behind `vector_batch` as a prompt does, where more first cost nothing (ggml-org/llama.cpp#17505, #15131)."""
    wide: Real = rate.decode_share * maximum(sequences / max(work.vector_batch, 1), 1)
    return maximum(rate.decode_share, minimum(wide, rate.prefill_share)) if work.vector_batch else rate.decode_share


def step(work: Work[Real], rate: Rates[Real], sequences: Real, cache_bytes: Real) -> Step[Real]:
    """One decoding step of `sequences`, each reading `cache_bytes`."""
    touched = _touched(work, rate, sequences)
    macs = work.weights.dense_macs + work.weights.head_macs + work.weights.expert_macs * _share_used(work)
    return Step(
        weights=_reads_s(work, rate, touched),
        arithmetic=2 * macs * sequences / (work.peak.flops * _decode_share(work, rate, sequences)),
        caches=sequences * cache_bytes / (work.peak.bandwidth_bytes_per_s * rate.cache_share),
        all_reduces=_all_reduce_s(work, rate, sequences),
        launches=_launches_s(work, rate) + rate.sequence_s * maximum(sequences - 1, 0),
    )


def prompt_s(work: Work[Real], rate: Rates[Real], prompt: Real, attention_flops: Real) -> Real:
    """Seconds to compute the keys and values of a prompt, alone on the server; stages of a layer split work on its micro-batches at once."""
    macs = work.weights.dense_macs + work.weights.expert_macs * _share_used(work)
    compute = 2 * macs * prompt / (work.peak.flops * rate.prefill_share)
    reads = _reads_s(work, rate, _touched(work, rate, prompt))
    alone = (
        maximum(compute, reads) + attention_flops / (work.peak.flops_16bit * rate.attention_share) + _all_reduce_s(work, rate, prompt) + _launches_s(work, rate)
    )
    batches = maximum(prompt / PIPELINE_TOKENS, 1)
    return alone * (batches + work.stages - 1) / (batches * work.stages)


@dataclass(frozen=True, slots=True)
class Load(Generic[Real]):
    """Who asks: `users` at a time, each with a prompt and an answer of so many tokens; what that means for the caches of the model.

    `burst` 1: all at once and only once, as a benchmark of one wave sends them; 0: each sends the next request when its answer is there.
    """

    users: Real
    prompt: Real
    answer: Real
    burst: Real | int
    cache_bytes: Real
    attention_flops: Real


@dataclass(frozen=True, slots=True, kw_only=True)
class Served(Generic[Real]):
    """Seconds that each user sees, and tokens a second of all together."""

    step_s: Real
    prompt_s: Real
    time_to_first_token_s: Real
    time_per_output_token_s: Real
    output_tokens_per_s: Real


def load(work: Work[Real], users: Real, prompt: Real, answer: Real, *, burst: int = 0) -> Load[Real]:
    """Requests of `prompt` and `answer` tokens on this server; a step halfway through the answer reads the caches of an average one."""
    return Load(users, prompt, answer, burst, work.cache_bytes(prompt + answer / 2), work.attention_flops(prompt))


def served(work: Work[Real], rate: Rates[Real], asked: Load[Real]) -> Served[Real]:
    """How a server answers a load that fits its KV cache."""
    users, answer, burst = asked.users, asked.answer, asked.burst
    full = step(work, rate, users, asked.cache_bytes).total_s
    alone = prompt_s(work, rate, asked.prompt, asked.attention_flops)
    busy = users * alone / (users * alone + answer * full)
    waited = burst * 0.5 + (1 - burst) * minimum(rate.queue + rate.queue_load * busy**2, 0.5)
    first = alone * (1 + waited * (users - 1))
    decoding = minimum(maximum(users * (1 - first / (first + answer * full + (users - 1) * alone)), 1.0), users)
    steady = step(work, rate, decoding, asked.cache_bytes).total_s + (decoding - 1) / answer * alone
    once = full + 0.5 * (users - 1) / answer * alone
    per_token = burst * once + (1 - burst) * steady
    arrival = first + rate.first_token_s + rate.steps_before_first * full * (1 - 1 / users)  # a lone user waits for nobody's step
    return Served(
        step_s=full,
        prompt_s=alone,
        time_to_first_token_s=arrival,
        time_per_output_token_s=per_token,
        output_tokens_per_s=users * answer / (arrival + (answer - 1) * per_token),
    )
