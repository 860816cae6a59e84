"""What a cap on a GPU's power (`nvidia-smi -pl`) leaves of its speed, as it was measured card by card (power_cap.json, a source each).

A cap lowers the clocks of the cores, not of the memory: prompts slow down with it, a decoding step only where the cores no longer keep the memory busy.
Between two figures the share is a straight line; below the lowest nothing is said. A card that nobody capped lies between those that somebody did.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from planner.facts.hardware import GpuGroup
from planner.facts.speed import NoSpeed
from planner.speed.constants import rates
from planner.speed.roofline import step
from planner.speed.work import Work

_Curve = Sequence[Sequence[float]]
DECODE, PROMPT, SPREAD = "decode", "prompt", "spread"  # the last: a step of layers spread over several cards, each of which idles most of the time
VECTORS = "vectors"  # a step of kernels that multiply each sequence like a vector (llama.cpp), with the cores that the cap slows


@cache
def _curves() -> dict[str, dict[str, _Curve]]:
    """By card: what is left (of 1) at which share of its power."""
    cards = json.loads(Path(__file__).with_name("power_cap.json").read_text("utf-8"))["cards"]
    return {name: {kind: [*curve, [1.0, 1.0]] for kind, curve in card.items() if kind != "source"} for name, card in cards.items()}


def _at(curve: _Curve, share: float) -> float | None:
    """What is left at this share of the power; None below the lowest that was measured."""
    if share < curve[0][0]:
        return None
    above = next(index for index, (at, _) in enumerate(curve) if at >= share)
    (low, left), (high, right) = curve[max(0, above - 1)], curve[above]
    return right if high == low else left + (right - left) * (share - low) / (high - low)


def capped_share(group: GpuGroup) -> float:
    """The part of its power that the cards of a group are held to, 1 where they are not."""
    if not group.power_limit_w or not group.gpu.power_w:
        return 1.0
    return min(1.0, group.power_limit_w / group.gpu.power_w)


def not_measured(group: GpuGroup) -> str:
    """Why the cap of a group is extrapolated; empty where it is this card that was measured, and where its cap is none."""
    if capped_share(group) == 1 or all(group.gpu.name in _measured(kind) for kind in (DECODE, PROMPT)):
        return ""
    return f"a cap of {group.power_limit_w:g} W was not measured on this GPU: between what other cards lose"


def _measured(kind: str) -> set[str]:
    """The cards of which a curve of this kind is known."""
    return {name for name, curves in _curves().items() if kind in curves}


def _left(group: GpuGroup, kind: str, share: float) -> tuple[float, float, float] | None:
    """What is left at the cap, at worst, expected and at best; None where nobody measured so low a cap: of another card two have to be."""
    found = {name: left for name, curves in _curves().items() if kind in curves and (left := _at(curves[kind], share)) is not None}
    if group.gpu.name in _measured(kind) - found.keys() or len(found) < min(2, len(_measured(kind))):
        return None
    low, high = min(found.values()), max(found.values())
    own = found.get(group.gpu.name)
    return (own, own, own) if own else (low, (low + high) / 2, high)


def no_cap(group: GpuGroup) -> NoSpeed | None:
    """Why nothing is said of a group under its cap; None where something is."""
    gpu, watts = group.gpu, group.power_limit_w
    if not watts:
        return None
    if gpu.vendor != "nvidia":
        return NoSpeed(f"what a power cap costs was measured of NVIDIA's cards only, not of {gpu.title}")
    if not gpu.power_w:
        return NoSpeed(f"the power of {gpu.title} is not known, of which {watts:g} W would be a part")
    if any(_left(group, kind, capped_share(group)) is None for kind in (DECODE, PROMPT)):
        return NoSpeed(f"nobody measured so low a cap: {watts:g} of {gpu.power_w:,} W")
    return None


def capped(works: tuple[Work, Work, Work], group: GpuGroup) -> tuple[Work, Work, Work]:
    """The same works at the group's cap, each at its outlook: less arithmetic, and of the bandwidth what the slower cores still ask for."""
    share = min(1.0, capped_share(group) / _busy(works[1]))
    if share == 1.0:
        return works
    alone = VECTORS if works[1].vector_batch else DECODE
    steps = _left(group, SPREAD if works[1].stages > 1 else alone, share) or (1.0, 1.0, 1.0)
    prompts = _left(group, PROMPT, share) or (1.0, 1.0, 1.0)
    slow, likely, fast = (_held(work, step, prompt) for work, step, prompt in zip(works, steps, prompts, strict=True))
    return slow, likely, fast


def _busy(work: Work) -> float:
    """The part of a step in which a card works and does not wait for the others: a cap is one on the mean power."""
    alone = step(work, rates(work), 1.0, 0.0)
    return 1 - float(alone.all_reduces) / alone.total_s


def _held(work: Work, left: float, prompt: float) -> Work:
    """One work with so much of its bandwidth and arithmetic left in steps, and of its arithmetic in prompts."""
    peak = work.peak
    slower = {name: getattr(peak, name) * left for name in ("bandwidth_bytes_per_s", "flops", "flops_16bit")}
    return replace(work, peak=replace(peak, **slower, prompt_share=min(1.0, prompt / left)))
