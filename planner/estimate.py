"""How fast a plan is: the roofline at three outlooks, and how sure that is.

The interval of a class holds 80 % of the figures of models that the fit has not seen; what nobody measured takes the widest one, and a
link that nobody measured also the slowest and the fastest one that somebody did.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import floor, log10
from typing import Any

from planner.engines.vllm import cache_layout, dtype_bits, in_flight_tokens, with_kernels
from planner.hardware import Calibrated, GpuGroup
from planner.memory import capacity, place
from planner.plan import Plan
from planner.speed import fitted, load, rates, served, step
from planner.work import Work, arithmetic, cache_reads, gpu_kind, peak, shape_of, weights

PROMPT, ANSWER, MOST_USERS = 2000, 500, 16  # the load that is shown where none is asked for
PCIE4_BYTES_PER_S = 31_500_000_000  # GUESS where a card's PCIe is not known: generation 4, 16 lanes


@dataclass(frozen=True, slots=True)
class Range:
    """A figure at three outlooks, two significant digits each."""

    cautious: float
    expected: float
    hopeful: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedEstimate:
    """What one user sees alone, and what `users` get together, each with a prompt and an answer of so many tokens."""

    grade: str  # measured class, new model, new GPU, extrapolated
    because: str
    prompt_tokens: int
    answer_tokens: int
    users: int
    tokens_per_s: Range
    total_tokens_per_s: Range
    time_to_first_token_s: Range
    bound_by: str


def significant(value: float) -> float:
    """A number rounded to two significant digits."""
    return round(value, 1 - floor(log10(abs(value)))) if value else 0.0


def vllm_work(plan: Plan) -> Work | None:
    """What one rank of this server does; None where the GPU's peaks are not known, or it is divided over stages."""
    model, config, gpu = plan.model, plan.config, plan.request.group.gpu
    if config.pipeline_parallel_size > 1 or plan.request.group.nodes > 1 or model.pooling or model.is_encoder or config.enforce_eager or gpu.vendor == "amd":
        return None
    bits = dtype_bits(model, gpu, config.dtype)
    kind, widened = arithmetic(model, gpu)
    best = peak(gpu, kind, *_link(plan.request.group))
    if best is None:
        return None
    tp = config.tensor_parallel_size
    return Work(
        engine="vllm",
        weights=weights(model, with_kernels(config.parallel, gpu), bits),
        reads=cache_reads(model, tp, cache_layout(model, gpu, config.kv_cache_dtype, dtype_bits=bits)),
        peak=best,
        tensor_parallel_size=tp,
        weight_only=widened,
        **shape_of(model),
    )


def _link(group: GpuGroup) -> tuple[str, int]:
    """The kind of link between GPUs and its line rate; of a measured one the rate whose usual share is what was reached."""
    gpu = group.gpu
    if group.link_bytes_per_s:
        kind = "nvlink" if gpu.nvlink else "pcie5"
        return kind, int(group.link_bytes_per_s / fitted()["constants"][f"{kind}.share"])
    return "nvlink" if gpu.nvlink else "pcie4", gpu.link_bytes_per_s or PCIE4_BYTES_PER_S


def _links(work: Work, *, measured: bool) -> tuple[Work, Work, Work]:
    """The same work over the slowest, the likely and the fastest link: of PCIe, peer to peer decides, and few have measured it."""
    if work.tensor_parallel_size == 1 or work.peak.link == "nvlink" or measured:
        return work, work, work
    slow = replace(work, peak=replace(work.peak, link_bytes_per_s=work.peak.link_bytes_per_s // 2))
    return slow, work, replace(work, peak=replace(work.peak, link="pcie5"))


def grade(work: Work, model: str, group: GpuGroup) -> tuple[str, str]:
    """How near the plan is to what was measured, and what is not."""
    data, gpu = fitted(), group.gpu
    if kept := _measured_here(group):
        return "measured here", f"figures of {kept.model} on this machine (plan bench)"
    kind = f"{gpu_kind(gpu)} {work.engine}"
    if kind not in data["new_model"]:
        return "extrapolated", f"no figure of {work.engine} on a {gpu_kind(gpu)} card"
    if work.tensor_parallel_size > 1 and work.peak.link != "nvlink" and not group.link_bytes_per_s:
        return "extrapolated", "all-reduces over this PCIe were not measured"
    chip = re.sub(r"-\d+gb$", "", gpu.name) if gpu.vendor == "apple" else gpu.name  # a Mac's memory does not change its speed
    measured = data["fit"]["seen"][work.engine].get(chip, [])
    if not measured:
        return "new GPU", f"no figure of {work.engine} on {gpu.title}"
    return ("measured class", f"figures of this model on {gpu.title}") if model in measured else ("new model", f"figures of other models on {gpu.title}")


def factor(kind: str, rank: str, metrics: tuple[str, ...]) -> float:
    """The factor of the 80 % interval: the wider of the metrics that the class has figures of; the widest of all classes where it is extrapolated."""
    data: dict[str, Any] = fitted()
    tables = [data["new_model"]] if rank in ("measured class", "new model") else [data["new_model"], data["new_gpu"]]
    own = [table[kind][metric] for metric in metrics for table in tables if metric in table.get(kind, {})]
    if rank == "measured here":  # what is left is what another model differs by
        tables = [data["new_model"]]
    elif rank != "extrapolated" and own:
        return float(max(own))
    return float(max(found[metric] for table in tables for found in table.values() for metric in metrics if metric in found))


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
        found = served(self.work, rates(self.work, fitted()["constants"]), asked)
        return Seen(
            self.prompt_factor * found.time_to_first_token_s, self.step_factor * found.time_per_output_token_s, found.output_tokens_per_s / self.total_factor
        )


def paces(plan: Plan) -> tuple[Pace, Pace, Pace] | None:
    """A plan at the cautious, the expected and the hopeful outlook; None where nothing is known that would bound it."""
    work = vllm_work(plan) if plan.verdict != "does_not_start" else None
    if work is None:
        return None
    rank, _ = grade(work, plan.model.name, plan.request.group)
    measured = _measured_here(plan.request.group)
    slow, likely, fast = _links(work, measured=measured is not None or bool(plan.request.group.link_bytes_per_s))
    kind = f"{work.peak.kind} {work.engine}"
    steps, prompts, totals = (factor(kind, rank, metrics) for metrics in (("decode", "tpot"), ("ttft", "prompt"), ("throughput", "tpot")))
    step, first = (measured.step, measured.first_token) if measured else (1.0, 1.0)
    return (
        Pace(slow, step * steps, first * prompts, step * totals),
        Pace(likely, step, first, step),
        Pace(fast, step / steps, first / prompts, step / totals),
    )


def _measured_here(group: GpuGroup) -> Calibrated | None:
    """What `plan bench` kept of as many of these GPUs: another number has other links."""
    kept = group.gpu.calibrated_speed
    return kept if kept and kept.count == group.count else None


def measured_factors(plan: Plan, prompt: int, answer: int, first_token_s: float, per_token_s: float) -> tuple[float, float] | None:
    """Measured over predicted seconds of a step and of a first token of one user; None where nothing is predicted."""
    work = vllm_work(plan)
    if work is None:
        return None
    alone = Pace(work).seen(1, prompt, answer)
    return per_token_s / alone.per_token_s, first_token_s / alone.first_token_s


def estimate(plan: Plan) -> SpeedEstimate | None:
    """The speed of a plan that starts; None where nothing is known that would bound it."""
    known = paces(plan)
    if known is None:
        return None
    work = known[1].work
    answer = max(1, min(ANSWER, plan.config.max_model_len // 5))
    prompt = max(1, min(PROMPT, plan.config.max_model_len - answer))
    users = plan.request.users or _users_that_fit(plan, prompt + answer)
    rank, because = grade(work, plan.model.name, plan.request.group)
    alone, together = ([pace.seen(count, prompt, answer) for pace in known] for count in (1, users))
    return SpeedEstimate(
        grade=rank,
        because=because,
        prompt_tokens=prompt,
        answer_tokens=answer,
        users=users,
        tokens_per_s=Range(*(significant(1 / one.per_token_s) for one in alone)),
        total_tokens_per_s=Range(*(significant(one.total_tokens_per_s) for one in together)),
        time_to_first_token_s=Range(*(significant(one.first_token_s) for one in alone)),
        bound_by=step(work, rates(work, fitted()["constants"]), float(users), work.cache_bytes(prompt + answer / 2)).longest,
    )


def _users_that_fit(plan: Plan, tokens: int) -> int:
    """Users whose request of so many tokens fits the KV cache at once, at most those that a small group would be."""
    cache = place(plan.model, plan.request.group, plan.config).cache
    fits = capacity(cache, plan.choice.cautious.kv_cache_blocks, tokens, in_flight_tokens(plan.config))
    return max(1, min(int(fits), plan.config.max_num_seqs, MOST_USERS))
