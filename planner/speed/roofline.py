"""A roofline: seconds of a decoding step, of a prompt, and of requests that share a server.

A step reads the weights it needs and every sequence's cache, and waits for kernels to start and ranks to add up their halves:

    weights   = (dense + head + experts x touched) / (bandwidth x share)       touched = 1 - (1 - k/E) ^ (B ^ spread)
    compute   = 2 x (dense + head + experts x k/E) x B / (peak x share)
    step      = max(weights, compute) + B x cache / (bandwidth x share) + all-reduces + starts
    prompt    = max(2 x active x I / (peak x share), weights read) + attention + all-reduces

B sequences that arrive as others leave (closed loop): a share q of the other prompts is waited for, which grows with the part of the
machine's time that prompts take. Every share is a product of named constants (engines/speed.json), fitted on published measurements
by `python -m benchmarks.speed_fit`; the derivation is in docs/speed.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from math import prod
from typing import Any

from planner.facts.verdict import BoundBy
from planner.speed.work import Work
from planner.units import maximum, minimum

PIPELINE_TOKENS = 512  # llama.cpp's --ubatch-size: stages of a layer split work on different micro-batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What is reached of each peak (shares), and what each start costs (seconds). Values, or the names whose product they are."""

    bandwidth_share: Any
    cache_share: Any
    decode_share: Any
    prefill_share: Any
    attention_share: Any
    expert_spread: Any
    layer_s: Any
    module_s: Any
    moe_layer_s: Any
    sequence_s: Any
    all_reduce_s: Any
    link_share: Any
    first_token_s: Any
    steps_before_first: Any
    queue: Any
    queue_load: Any


@cache
def fitted() -> dict[str, Any]:
    """The constants and their intervals."""
    loaded: dict[str, Any] = json.loads(files("planner.speed").joinpath("speed.json").read_text("utf-8"))
    return loaded


def link_constants(work: Work) -> tuple[str, str]:
    """The names of what an all-reduce costs: its start, and the share of the link it reaches."""
    link = work.peak.link
    if link == "pcie3":
        ranks = "pair" if work.tensor_parallel_size == 2 else "many"
        return f"pcie3.{ranks}.start", f"pcie3.{ranks}.share"
    return f"{'nvlink' if link == 'nvlink' else 'pcie5'}.start", f"{'nvlink' if link == 'nvlink' else 'pcie5'}.share"


def rate_names(work: Work) -> Rates:
    """Which constants each rate is the product of, for this server."""
    engine, peak = work.engine, work.peak
    moe = work.moe_layers > 0
    bandwidth = [f"bandwidth.{engine}"]
    bandwidth += ["bandwidth.weight_only"] if work.weight_only else []
    bandwidth += ["bandwidth.h20"] if peak.gpu == "h20" else []
    bandwidth += ["bandwidth.llamacpp_hbm"] if engine == "llamacpp" and peak.hbm else []
    kind = "llamacpp" if engine == "llamacpp" and peak.kind != "apple" else peak.kind
    prefill = [f"prefill.{kind}"]
    if moe:
        prefill.append("prefill.moe_datacenter" if kind == "datacenter" else "prefill.moe")
    if peak.low_precision:
        prefill.append("prefill.low_precision")
    if work.weight_only and not moe and kind not in ("apple", "llamacpp"):
        prefill.append("prefill.weight_only")
    start, share = link_constants(work)
    client = engine if engine in ("sglang", "trtllm") else "vllm"
    return Rates(
        bandwidth_share=tuple(bandwidth),
        cache_share=("cache",),
        decode_share=("decode",),
        prefill_share=tuple(prefill),
        attention_share=("attention",),
        expert_spread=("expert_spread",),
        layer_s=(f"layer.{engine}",),
        module_s=("module",),
        moe_layer_s=("moe_layer",),
        sequence_s=("sequence",),
        all_reduce_s=(start,),
        link_share=(share,),
        first_token_s=(f"first_token.{client}",),
        steps_before_first=("steps_before_first",),
        queue=(f"queue.{client}",),
        queue_load=("queue_load",),
    )


def rates(work: Work, constants: dict[str, float]) -> Rates:
    """The rates of one server."""
    names = rate_names(work)
    return Rates(**{field.name: prod(constants[name] for name in getattr(names, field.name)) for field in fields(names)})


def _reads_s(work: Work, rate: Rates, touched: Any) -> Any:
    held = work.weights
    return (held.dense_bytes + held.head_bytes + held.expert_bytes * touched) / (work.peak.bandwidth_bytes_per_s * rate.bandwidth_share)


def _share_used(work: Work) -> Any:
    """The part of the experts that one token uses: all of them at most, none where there are none."""
    return minimum(work.experts_per_token, work.experts) / maximum(work.experts, 1)


def _all_reduce_s(work: Work, rate: Rates, tokens: Any) -> Any:
    """Two all-reduces a layer: 2(n-1)/n of the hidden states pass each link, in 16 bits. Nothing on one rank."""
    ranks = work.tensor_parallel_size
    moved = 2 * (ranks - 1) / ranks * tokens * work.hidden_size * 2
    each = rate.all_reduce_s + moved / (maximum(work.peak.link_bytes_per_s, 1) * rate.link_share)
    return 2 * work.layers * each * minimum(ranks - 1, 1)


def _starts_s(work: Work, rate: Rates) -> Any:
    """What the kernels of all layers cost before they do anything."""
    return rate.layer_s * work.layers + rate.module_s * work.modules + rate.moe_layer_s * work.moe_layers


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds of a decoding step by cause; weights are read while others are multiplied, so the longer of the two counts."""

    weights: Any
    arithmetic: Any
    caches: Any
    all_reduces: Any
    starts: Any

    @property
    def longest(self) -> BoundBy:
        """The term that takes most of it (of numbers, not of arrays)."""
        terms: dict[BoundBy, Any] = {
            "weights": self.weights,
            "arithmetic": self.arithmetic,
            "KV cache": self.caches,
            "all-reduces": self.all_reduces,
            "starts": self.starts,
        }
        return max(terms, key=terms.__getitem__)

    @property
    def total_s(self) -> Any:
        """The whole step."""
        return maximum(self.weights, self.arithmetic) + self.caches + self.all_reduces + self.starts


def step(work: Work, rate: Rates, sequences: Any, cache_bytes: Any) -> Step:
    """One decoding step of `sequences`, each reading `cache_bytes`."""
    touched = 1 - (1 - _share_used(work)) ** (sequences**rate.expert_spread)
    macs = work.weights.dense_macs + work.weights.head_macs + work.weights.expert_macs * _share_used(work)
    return Step(
        weights=_reads_s(work, rate, touched),
        arithmetic=2 * macs * sequences / (work.peak.flops * rate.decode_share),
        caches=sequences * cache_bytes / (work.peak.bandwidth_bytes_per_s * rate.cache_share),
        all_reduces=_all_reduce_s(work, rate, sequences),
        starts=_starts_s(work, rate) + rate.sequence_s * maximum(sequences - 1, 0),
    )


def prompt_s(work: Work, rate: Rates, prompt: Any, attention_flops: Any) -> Any:
    """Seconds to compute the keys and values of a prompt, alone on the server; stages of a layer split work on its micro-batches at once."""
    macs = work.weights.dense_macs + work.weights.expert_macs * _share_used(work)
    compute = 2 * macs * prompt / (work.peak.flops * rate.prefill_share)
    reads = _reads_s(work, rate, 1) * minimum(prompt / 64, 1)
    alone = (
        maximum(compute, reads) + attention_flops / (work.peak.flops_16bit * rate.attention_share) + _all_reduce_s(work, rate, prompt) + _starts_s(work, rate)
    )
    batches = maximum(prompt / PIPELINE_TOKENS, 1)
    return alone * (batches + work.stages - 1) / (batches * work.stages)


@dataclass(frozen=True, slots=True)
class Load:
    """Who asks: `users` at a time, each with a prompt and an answer of so many tokens; what that means for the caches of the model.

    `burst` 1: all at once and only once, as a benchmark of one wave sends them; 0: each sends the next request when its answer is there.
    """

    users: Any
    prompt: Any
    answer: Any
    burst: Any
    cache_bytes: Any
    attention_flops: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Seconds that each user sees, and tokens a second of all together."""

    step_s: Any
    prompt_s: Any
    time_to_first_token_s: Any
    time_per_output_token_s: Any
    output_tokens_per_s: Any


def load(work: Work, users: Any, prompt: Any, answer: Any, *, burst: int = 0) -> Load:
    """Requests of `prompt` and `answer` tokens on this server; a step halfway through the answer reads the caches of an average one."""
    return Load(users, prompt, answer, burst, work.cache_bytes(prompt + answer / 2), work.attention_flops(prompt))


def served(work: Work, rate: Rates, asked: Load) -> Served:
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
    each = burst * once + (1 - burst) * steady
    arrival = first + rate.first_token_s + rate.steps_before_first * full * (0.5 + 0.5 * minimum(users - 1, 1))
    return Served(
        step_s=full,
        prompt_s=alone,
        time_to_first_token_s=arrival,
        time_per_output_token_s=each,
        output_tokens_per_s=users * answer / (arrival + (answer - 1) * each),
    )
