"""The constants of the roofline (speed.json), and which of them each rate of a server is the product of.

Fitted on published measurements by `python -m benchmarks.speed_fit`; the derivation is in docs/speed.md.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import cache
from math import prod
from pathlib import Path
from typing import Generic

from planner.arrays import Real
from planner.facts.record import dataclass
from planner.speed.work import Work


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
    recurrent_layer_s: Real
    index_layer_s: Real
    stage_s: Real
    sequence_s: Real
    all_reduce_s: Real
    hop_s: Real
    link_share: Real
    host_s: Real
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
    attention_share: tuple[str, ...]
    expert_spread: tuple[str, ...] = ("expert_spread",)
    layer_s: tuple[str, ...]
    module_s: tuple[str, ...] = ("module",)
    moe_layer_s: tuple[str, ...] = ("moe_layer",)
    recurrent_layer_s: tuple[str, ...] = ("recurrent_layer",)
    index_layer_s: tuple[str, ...] = ("index_layer",)
    stage_s: tuple[str, ...] = ("stage",)
    sequence_s: tuple[str, ...] = ("sequence",)
    all_reduce_s: tuple[str, ...]
    hop_s: tuple[str, ...] = ("pcie.hop",)
    link_share: tuple[str, ...]
    host_s: tuple[str, ...] = ("host.sglang",)
    first_token_s: tuple[str, ...]
    steps_before_first: tuple[str, ...]
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
    slower = _hbm(constants, "starts", work)
    clients = [name.partition(".")[2] for name in constants if name.startswith("queue.")]
    client = engine if engine in clients else clients[0]
    return RateNames(
        bandwidth_share=_bandwidth_names(work, constants),
        decode_share=(_own(constants, "decode", engine if on_cuda(work) else ""),),
        prefill_share=_prefill_names(work, constants),
        attention_share=(_own(constants, _own(constants, "attention", engine if on_cuda(work) else peak.kind), work.era),),
        layer_s=(
            _own(constants, f"layer.{engine}", work.era, peak.generation, peak.kind),
            *slower,
        ),
        module_s=(_own(constants, "module", "" if peak.kind == "apple" else engine), *slower),
        moe_layer_s=(_own(constants, "moe_layer", engine, _expert_kernels(work)), *slower),
        recurrent_layer_s=(_own(constants, "recurrent_layer", engine), *slower),
        all_reduce_s=(f"{link}.start",),
        link_share=(f"{link}.share",),
        first_token_s=(f"first_token.{client}",),
        steps_before_first=(f"steps_before_first.{client}",),
        queue=(f"queue.{client}",),
    )


def on_cuda(work: Work) -> bool:
    """Whether llama.cpp's kernels for NVIDIA's cards were measured on such a card: not on a GB10, and elsewhere they are others."""
    return work.peak.kind not in ("apple", "amd", "unified")


def _expert_kernels(work: Work) -> str:
    """In what experts are multiplied; those stored in 4 bits by fused kernels of Blackwell's, whatever the arithmetic of their inputs."""
    return "fp4" if work.narrow and work.peak.low_precision else work.peak.low_precision


def _prefill_names(work: Work, constants: Collection[str]) -> tuple[str, ...]:
    """Of the kind of GPU, and what experts, narrow arithmetic and widening change; of llama.cpp on CUDA its own, by build."""
    engine, peak, moe = work.engine, work.peak, work.shape.moe_layers > 0
    own_kernels = f"prefill.{engine}" in constants and on_cuda(work)
    if own_kernels:  # what it pads of experts and what it widens beforehand is counted
        return (_own(constants, _own(constants, f"prefill.{engine}", work.era), peak.generation),)
    names = [_own(constants, f"prefill.{peak.kind}", peak.generation)]
    if moe and not work.expert_rows:
        names.append("prefill.moe_datacenter" if peak.kind == "datacenter" else "prefill.moe")
    if peak.low_precision:
        names.append("prefill.low_precision")
    if work.weight_only and not moe and peak.kind != "apple":
        names.append("prefill.weight_only")
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
    names += _hbm(constants, "bandwidth", work)
    names += [_own(constants, "bandwidth.two_dies", engine)] if peak.gpu.startswith("apple-") and "ultra" in peak.gpu else []
    return tuple(names)


def _hbm(constants: Collection[str], name: str, work: Work) -> tuple[str, ...]:
    """By what an engine's kernels differ on cards with HBM, where they do: these are clocked lower than other cards, so that the same chain of short kernels takes longer."""
    common = f"{name}.{work.engine}_hbm"
    return (_own(constants, common, work.peak.generation),) if work.peak.hbm and common in constants else ()


def _kernel_families(work: Work) -> tuple[str, ...]:
    """Whose kernels widen the weights, the narrowest family first: the engine's own, those of experts on the kind of GPU, of experts; of matrices those of a GPU that is not like the others."""
    kind = work.peak.kind
    return (work.engine, f"moe_{kind}", "moe") if work.shape.moe_layers else (work.engine, work.peak.gpu)


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
        recurrent_layer_s=product(names.recurrent_layer_s),
        index_layer_s=product(names.index_layer_s),
        stage_s=product(names.stage_s),
        sequence_s=product(names.sequence_s),
        all_reduce_s=product(names.all_reduce_s),
        hop_s=product(names.hop_s),
        link_share=product(names.link_share),
        host_s=product(names.host_s),
        first_token_s=product(names.first_token_s),
        steps_before_first=product(names.steps_before_first),
        queue=product(names.queue),
        queue_load=product(names.queue_load),
    )
