"""How fast a plan is: the roofline at three outlooks, and how sure that is.

The interval of a class holds 80 % of the figures of models that the fit has not seen; what nobody measured takes the widest one, and a
link that nobody measured also the slowest and the fastest one that somebody did.
"""

from __future__ import annotations

import re
from dataclasses import replace

from planner.facts.hardware import Calibrated, GpuGroup, GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass
from planner.facts.speed import NoSpeed
from planner.facts.verdict import Grade
from planner.speed.roofline import fitted, load, rates, served
from planner.speed.work import Work, gpu_kind


def no_answers(model: ModelSpec) -> NoSpeed | None:
    """Why a model has no decoding speed; None for one that generates text."""
    if not (model.pooling or model.is_encoder):
        return None
    kind = "an encoder" if model.is_encoder else "a pooling model (embedding, reward or ranking)"
    return NoSpeed(f"{kind} generates no tokens, and how many texts a second it reads was not measured here")


def no_bandwidth(gpu: GpuSpec) -> NoSpeed:
    """Why nothing is said of a GPU of which not even the bandwidth is known."""
    return NoSpeed(f"the memory bandwidth of {gpu.title} is not known")


def links(work: Work, vendor: str, *, measured: bool) -> tuple[Work, Work, Work]:
    """The same work over the slowest, the likely and the fastest link: of PCIe, peer to peer decides, and few have measured it.

    Nobody measured what an all-reduce costs over Infinity Fabric: at worst as much as over the slowest link of all.
    """
    if vendor == "amd" and work.tensor_parallel_size > 1 and not measured:
        return replace(work, peak=replace(work.peak, link="pcie3")), work, work
    if work.tensor_parallel_size == 1 or work.peak.link == "nvlink" or measured:
        return work, work, work
    slow = replace(work, peak=replace(work.peak, link_bytes_per_s=work.peak.link_bytes_per_s // 2))
    return slow, work, replace(work, peak=replace(work.peak, link="pcie5"))


def no_compute(gpu: GpuSpec) -> str:
    """Why only its bandwidth bounds a GPU."""
    return "how much of its arithmetic an AMD GPU reaches was not measured here" if gpu.vendor == "amd" else "compute peak unknown"


def grade(work: Work, model: str, group: GpuGroup) -> tuple[Grade, str]:
    """How near the plan is to what was measured, and what is not."""
    data, gpu = fitted(), group.gpu
    if kept := measured_here(group):
        return Grade.MEASURED_HERE, f"figures of {kept.model} on this machine (plan bench)"
    if not work.peak.computes:
        return Grade.EXTRAPOLATED, f"from memory bandwidth alone; {no_compute(gpu)}: no TTFT"
    kind = f"{gpu_kind(gpu)} {work.engine}"
    if kind not in data.new_model:
        return Grade.EXTRAPOLATED, f"no figure of {work.engine} on a {gpu_kind(gpu)} card"
    if work.tensor_parallel_size > 1 and work.peak.link != "nvlink" and not group.link_bytes_per_s:
        return Grade.EXTRAPOLATED, "all-reduces over this PCIe were not measured"
    chip = re.sub(r"-\d+gb$", "", gpu.name) if gpu.vendor == "apple" else gpu.name  # a Mac's memory does not change its speed
    measured = data.models_measured[work.engine].get(chip, ())
    if not measured:
        return Grade.NEW_GPU, f"no figure of {work.engine} on {gpu.title}"
    return (
        (Grade.MEASURED_CLASS, f"figures of this model on {gpu.title}") if model in measured else (Grade.NEW_MODEL, f"figures of other models on {gpu.title}")
    )


def factor(kind: str, rank: Grade, metrics: tuple[str, ...]) -> float:
    """The factor of the 80 % interval: the wider of the metrics that the class has figures of; the widest of all classes where it is extrapolated."""
    data = fitted()
    tables = [data.new_model] if rank in (Grade.MEASURED_CLASS, Grade.NEW_MODEL) else [data.new_model, data.new_gpu]
    own = [table[kind][metric] for metric in metrics for table in tables if metric in table.get(kind, {})]
    if rank is Grade.MEASURED_HERE:  # what is left is what another model differs by
        tables = [data.new_model]
    elif rank is not Grade.EXTRAPOLATED and own:
        return float(max(own))
    return float(max(factors[metric] for table in tables for factors in table.values() for metric in metrics if metric in factors))


@dataclass(frozen=True, slots=True)
class Seen:
    """What users see who each ask again as soon as they are answered, and what all get together."""

    first_token_s: float
    per_token_s: float
    total_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """The work of one outlook, and by what steps, prompts and whole answers of many take longer than computed."""

    work: Work
    step_factor: float = 1.0
    prompt_factor: float = 1.0
    total_factor: float = 1.0

    def seen(self, users: int, prompt: int, answer: int) -> Seen:
        """So many users at once, each with a prompt and an answer of so many tokens."""
        asked = load(self.work, float(users), float(prompt), float(answer))
        result = served(self.work, rates(self.work), asked)
        return Seen(
            self.prompt_factor * result.time_to_first_token_s, self.step_factor * result.time_per_output_token_s, result.output_tokens_per_s / self.total_factor
        )


def measured_here(group: GpuGroup) -> Calibrated | None:
    """What `plan bench` kept of as many of these GPUs: another number has other links."""
    kept = group.gpu.calibrated_speed
    return kept if kept and kept.count == group.count else None
