"""How fast a plan is: the roofline at three outlooks, and how sure that is.

The interval of a class holds 80 % of the figures of models that the fit has not seen; what nobody measured takes the widest one, and a
link that nobody measured also the slowest and the fastest one that somebody did.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import floor, log10
from typing import Any

from planner.engines.vllm.memory import capacity, place
from planner.engines.vllm.plan import Plan
from planner.engines.vllm.rules import cache_layout, dtype_bits, in_flight_tokens, with_kernels
from planner.facts.hardware import Calibrated, GpuGroup, GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.verdict import BoundBy, Grade
from planner.speed.roofline import fitted, load, rates, served, step
from planner.speed.work import Work, arithmetic, cache_reads, gpu_kind, peak, shape_of, weights

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
    """What one user sees alone, and what `users` get together, each with a prompt and an answer of so many tokens.

    Where only the GPU's bandwidth is known, nothing is said of prompts: no time to first token, nor what several get together.
    """

    grade: Grade
    because: str
    prompt_tokens: int
    answer_tokens: int
    users: int
    tokens_per_s: Range
    total_tokens_per_s: Range | None
    time_to_first_token_s: Range | None
    bound_by: BoundBy


@dataclass(frozen=True, slots=True)
class NoSpeed:
    """Why nothing is said of the speed of a plan, in words that follow a colon."""

    reason: str


DOES_NOT_START = NoSpeed("the server does not start")
# Issues that measured both: Project-MONAI/VLM-Surgical-Agent-Framework#5 (4.1 times, A6000), vllm-project/vllm-omni#7960 (1.7 to 4.3, A800 and
# H200), tonyd2wild/GLM-5.3-Flash-NVFP4-1M-KV-4x-DGX-Spark#5 (1.2, four GB10).
EAGER = "CUDA graphs are off, and how long kernels then take to start was not measured here; others saw decoding 1.2 to 4.3 times slower than with graphs"


def expected_tokens_per_s(speed: SpeedEstimate | NoSpeed) -> float | None:
    """Tokens a second of one user alone; None where nothing is said."""
    return speed.tokens_per_s.expected if isinstance(speed, SpeedEstimate) else None


def significant(value: float) -> float:
    """A number rounded to two significant digits."""
    return round(value, 1 - floor(log10(abs(value)))) if value else 0.0


def no_answers(model: ModelSpec) -> NoSpeed | None:
    """Why a model has no decoding speed; None for one that generates text."""
    if not (model.pooling or model.is_encoder):
        return None
    kind = "an encoder" if model.is_encoder else "a pooling model (embedding, reward or ranking)"
    return NoSpeed(f"{kind} generates no tokens, and how many texts a second it reads was not measured here")


def _not_measured(plan: Plan) -> NoSpeed | None:
    """Why nothing can be said of a plan, whatever its GPU; None where something can."""
    config, nodes = plan.config, plan.request.group.nodes
    if plan.verdict == "does_not_start":
        return DOES_NOT_START
    if found := no_answers(plan.model):
        return found
    if nodes > 1:
        return NoSpeed(f"the network between {nodes} machines was not measured")
    if config.pipeline_parallel_size > 1:
        return NoSpeed(f"{config.pipeline_parallel_size} pipeline stages: vLLM's pipelines were not measured here")
    return NoSpeed(EAGER) if config.enforce_eager else None


def no_bandwidth(gpu: GpuSpec) -> NoSpeed:
    """Why nothing is said of a GPU of which not even the bandwidth is known."""
    return NoSpeed(f"the memory bandwidth of {gpu.title} is not known")


def vllm_work(plan: Plan) -> Work | NoSpeed:
    """What one rank of this server does, or why that is not known."""
    if found := _not_measured(plan):
        return found
    model, config, gpu = plan.model, plan.config, plan.request.group.gpu
    bits = dtype_bits(model, gpu, config.dtype)
    kind, widened = arithmetic(model, gpu)
    best = peak(gpu, kind, *_link(plan.request.group))
    if best is None:
        return no_bandwidth(gpu)
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


def _links(work: Work, vendor: str, *, measured: bool) -> tuple[Work, Work, Work]:
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
    if kept := _measured_here(group):
        return "measured here", f"figures of {kept.model} on this machine (plan bench)"
    if not work.peak.computes:
        return "extrapolated", f"from memory bandwidth alone; {no_compute(gpu)}: no TTFT"
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


def factor(kind: str, rank: Grade, metrics: tuple[str, ...]) -> float:
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


def paces(plan: Plan) -> tuple[Pace, Pace, Pace] | NoSpeed:
    """A plan at the cautious, the expected and the hopeful outlook, or why prompts or the whole of it cannot be bounded."""
    work = vllm_work(plan)
    if isinstance(work, NoSpeed):
        return work
    if not work.peak.computes:
        return NoSpeed(f"{no_compute(plan.request.group.gpu)}, so that the time of a prompt cannot be told")
    return _outlooks(plan, work)


def _outlooks(plan: Plan, work: Work) -> tuple[Pace, Pace, Pace]:
    rank, _ = grade(work, plan.model.name, plan.request.group)
    measured = _measured_here(plan.request.group)
    slow, likely, fast = _links(work, plan.request.group.gpu.vendor, measured=measured is not None or bool(plan.request.group.link_bytes_per_s))
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


def measured_factors(plan: Plan, prompt: int, answer: int, first_token_s: float, per_token_s: float) -> tuple[float, float] | NoSpeed:
    """Measured over predicted seconds of a step and of a first token of one user, or why they are not predicted."""
    known = paces(plan)
    if isinstance(known, NoSpeed):
        return known
    alone = Pace(known[1].work).seen(1, prompt, answer)
    return per_token_s / alone.per_token_s, first_token_s / alone.first_token_s


def estimate(plan: Plan) -> SpeedEstimate | NoSpeed:
    """The speed of a plan, or why none is said; of a GPU whose arithmetic is not known only the decoding of one user."""
    work = vllm_work(plan)
    if isinstance(work, NoSpeed):
        return work
    known, whole = _outlooks(plan, work), work.peak.computes
    answer = max(1, min(ANSWER, plan.config.max_model_len // 5))
    prompt = max(1, min(PROMPT, plan.config.max_model_len - answer))
    users = (plan.request.users or _users_that_fit(plan, prompt + answer)) if whole else 1
    rank, because = grade(work, plan.model.name, plan.request.group)
    alone, together = ([pace.seen(count, prompt, answer) for pace in known] for count in (1, users))
    return SpeedEstimate(
        grade=rank,
        because=because,
        prompt_tokens=prompt,
        answer_tokens=answer,
        users=users,
        tokens_per_s=Range(*(significant(1 / one.per_token_s) for one in alone)),
        total_tokens_per_s=Range(*(significant(one.total_tokens_per_s) for one in together)) if whole else None,
        time_to_first_token_s=Range(*(significant(one.first_token_s) for one in alone)) if whole else None,
        bound_by=step(work, rates(work, fitted()["constants"]), float(users), work.cache_bytes(prompt + answer / 2)).longest,
    )


def _users_that_fit(plan: Plan, tokens: int) -> int:
    """Users whose request of so many tokens fits the KV cache at once, at most those that a small group would be."""
    cache = place(plan.model, plan.request.group, plan.config).cache
    fits = capacity(cache, plan.choice.cautious.kv_cache_blocks, tokens, in_flight_tokens(plan.config))
    return max(1, min(int(fits), plan.config.max_num_seqs, MOST_USERS))
