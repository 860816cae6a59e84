"""How fast a plan is: the roofline at three outlooks, and how sure that is.

The interval of a class holds 80 % of the figures of models that the fit has not seen; what nobody measured takes the widest one, and a
link that nobody measured also the slowest and the fastest one that somebody did.
"""

from __future__ import annotations

import re
from functools import lru_cache

from planner.facts.hardware import Calibrated, GpuGroup, GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.record import Same, dataclass, replace
from planner.facts.speed import NoSpeed
from planner.facts.verdict import Grade
from planner.speed.constants import Rates, fitted, rates
from planner.speed.links import NO_LINK, AllReduce, slowest_pcie, slowest_start_s
from planner.speed.roofline import Load, Served, load, served
from planner.speed.work import Work, gpu_kind


def no_answers(model: ModelSpec) -> NoSpeed | None:
    """Why a model has no decoding speed; None for one that generates text token by token."""
    if is_diffusion(model.architecture):
        return NoSpeed("a diffusion model fills a block of tokens in several steps, whose number its input decides, and none was measured here")
    if not (model.pooling or model.is_encoder):
        return None
    kind = "an encoder" if model.is_encoder else "a pooling model (embedding, reward or ranking)"
    return NoSpeed(f"{kind} generates no tokens, and how many texts a second it reads was not measured here")


def is_diffusion(architecture: str) -> bool:
    """Whether a model of this class fills blocks of tokens in place of one token after the other."""
    return "Diffusion" in architecture


def no_bandwidth(gpu: GpuSpec) -> NoSpeed:
    """Why nothing is said of a GPU of which not even the bandwidth is known."""
    return NoSpeed(f"the memory bandwidth of {gpu.title} is not known")


def no_cap(group: GpuGroup) -> NoSpeed | None:
    """Why nothing is said of a group under its power cap; None where something is, and where there is none."""
    if not group.power_limit_w:
        return None
    from planner.speed import power

    return power.no_cap(group)


def links(work: Work, link: AllReduce, vendor: str) -> tuple[Work, Work, Work]:
    """The same work over the slowest, the likely and the fastest host with such cards.

    Nobody measured what an all-reduce costs over Infinity Fabric: at worst as much as over the slowest PCIe.
    """
    if work.tensor_parallel_size * work.engines == 1:
        return work, work, work
    slow, fast = (replace(work, peak=replace(work.peak, link_bytes_per_s=rate)) for rate in (link.slowest_bytes_per_s, link.fastest_bytes_per_s))
    if vendor == "amd" and work.tensor_parallel_size > 1 and not link.measured:
        ranks = int(work.tensor_parallel_size)
        slow = replace(work, peak=replace(work.peak, link="pcie", link_bytes_per_s=slowest_pcie(ranks), link_start_s=slowest_start_s(ranks)))
    return slow, work, fast


def no_compute(gpu: GpuSpec) -> str:
    """Why only its bandwidth bounds a GPU."""
    return "how much of an AMD GPU's arithmetic this engine reaches was not measured here" if gpu.vendor == "amd" else "compute peak unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """How near a plan is to what was measured, what is not, and which tables of errors bound it."""

    grade: Grade
    because: str
    kind: str  # of GPU and engine
    unseen: tuple[str, ...] = ()  # class (of GPU and engine), gpu, form (of the weights), architecture

    def factor(self, metrics: tuple[str, ...]) -> float:
        """The factor of the 80 % interval: the widest of the metrics and of all that was not seen; of all classes where its own was not.

        A link that nobody measured is not in it: its slowest and fastest host are computed (`links`).
        """
        data = fitted()
        by_class = [data.new_model, data.new_gpu] if "gpu" in self.unseen or self.grade is Grade.EXTRAPOLATED else [data.new_model]
        common = [data.new_form] * ("form" in self.unseen) + [data.new_architecture] * ("architecture" in self.unseen)
        own = [table[self.kind][metric] for metric in metrics for table in by_class if metric in table.get(self.kind, {})]
        if self.grade is Grade.MEASURED_HERE or "class" in self.unseen or not own:  # measured here, another model differs by what is left
            own = [factors[metric] for table in by_class for factors in table.values() for metric in metrics if metric in factors]
        return float(max(own + [table[metric] for table in common for metric in metrics if metric in table]))


def basis(work: Work, model: ModelSpec, group: GpuGroup, link: AllReduce = NO_LINK) -> Basis:
    """How near the plan is to what was measured: of this GPU, this model, its kind of weights and its architecture, with this engine."""
    data, gpu, kind = fitted(), group.gpu, f"{gpu_kind(group.gpu)} {work.engine}"
    if kept := measured_here(group, work.engine):
        return Basis(grade=Grade.MEASURED_HERE, because=f"figures of {kept.model} on this machine (plan bench)", kind=kind)
    if why := _extrapolated(work, group, kind, link):
        is_known = kind in data.new_model and gpu.vendor != "amd"
        return Basis(grade=Grade.EXTRAPOLATED, because=why, kind=kind, unseen=("gpu", "form", "architecture") if is_known else ("class",))
    by_gpu = data.measured[work.engine]
    chip = re.sub(r"-\d+gb$", "", gpu.name) if gpu.vendor == "apple" else gpu.name  # a Mac's memory does not change its speed
    here = by_gpu.get(chip, {})
    if work.form in here.get(model.name, ()):
        return Basis(grade=Grade.MEASURED_CLASS, because=f"figures of this model on {gpu.title}", kind=kind)
    forms = {form for models in by_gpu.values() for stored in models.values() for form in stored}
    unseen = {"gpu": not here, "form": work.form not in forms, "architecture": model.architecture not in data.architectures[work.engine]}
    words = {"form": f"none of {work.form}", "architecture": f"none of {model.architecture}"}
    missing = "".join(f", {words[name]}" for name in words if unseen[name])
    because = f"figures of other models on {gpu.title}{missing}" if here else f"no figure of {work.engine} on {gpu.title}{missing}"
    return Basis(grade=Grade.NEW_MODEL if here else Grade.NEW_GPU, because=because, kind=kind, unseen=tuple(name for name, is_new in unseen.items() if is_new))


def _extrapolated(work: Work, group: GpuGroup, kind: str, link: AllReduce) -> str:
    """Why nothing near was measured; empty where something was."""
    gpu = group.gpu
    if not work.peak.computes:
        return f"from memory bandwidth alone; {no_compute(gpu)}: no TTFT"
    if kind not in fitted().new_model:
        return f"no figure of {work.engine} on a {gpu_kind(gpu)} card"
    if work.tensor_parallel_size > 1 and link.kind == "pcie" and not link.measured:
        return "all-reduces over this PCIe were not measured"
    if group.power_limit_w:
        from planner.speed.power import not_measured

        return not_measured(group)
    return ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What users see who each ask again as soon as they are answered, and what all get together."""

    first_token_s: float
    per_token_s: float
    total_tokens_per_s: float
    prompt_share: float
    """The part of the server's time that goes to prompts; the rest to steps that decode."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The work of one outlook, and by what steps, prompts and whole answers of many take longer than computed; `kept`: what several showed on this machine."""

    work: Work
    step_factor: float = 1.0
    prompt_factor: float = 1.0
    total_factor: float = 1.0
    kept: Calibrated | None = None

    def seen(self, users: int, prompt: int, answer: int, places: int = 0) -> Seen:
        """So many users at once, each with a prompt and an answer of so many tokens, of whom at most `places` run (0: all) and the others wait.

        By Little's law: who ask again as soon as they are answered wait for (users - places) answers of a server that gives `places` of them in the time of one.
        """
        if not 0 < places < users:
            return self._of(_answered(Same(self.work), float(users), float(prompt), float(answer)), float(users), float(answer))
        running = self.seen(places, prompt, answer)
        waited_s = (users - places) * answer / running.total_tokens_per_s
        return replace(running, first_token_s=running.first_token_s + waited_s)

    def seen_of(self, asked: Load[float]) -> Seen:
        """Those of a load."""
        return self._of(served(self.work, _rates(Same(self.work)), asked), asked.users, asked.answer)

    def _of(self, result: Served[float], users: float, answer: float) -> Seen:
        first, total = (self.kept.first_of(users), self.kept.total_of(users)) if self.kept else (1.0, 1.0)
        prompts_s, steps_s = users * first * self.prompt_factor * result.prompt_s, answer * self.step_of(users) * result.step_s
        return Seen(
            first * self.prompt_factor * result.time_to_first_token_s,
            self.step_of(users) * result.time_per_output_token_s,
            result.output_tokens_per_s / (total * self.total_factor),
            prompts_s / (prompts_s + steps_s),
        )

    def step_of(self, users: float) -> float:
        """By what a step of so many takes longer than computed."""
        return self.step_factor * (self.kept.step_of(users) if self.kept else 1.0)


@lru_cache(maxsize=16)
def _rates(same: Same[Work]) -> Rates:
    return rates(same.thing)


@lru_cache(maxsize=128)  # the outlooks of a server whose GPUs wait for no link have one work
def _answered(same: Same[Work], users: float, prompt: float, answer: float) -> Served[float]:
    return served(same.thing, _rates(same), load(same.thing, users, prompt, answer))


def waiting(known: Basis, asked: int, places: int) -> Basis:
    """Of more requests than run at once: that the others wait stands beside what the speed rests on."""
    others = f"{places:,} request{'s run' if places > 1 else ' runs'} at once, the others of {asked:,} wait (Little's law)"
    return known if asked <= places else replace(known, because=f"{known.because}; {others}")


def outlooks(works: tuple[Work, Work, Work], known: Basis, group: GpuGroup) -> tuple[Pace, Pace, Pace]:
    """The slow, the likely and the fast work at the conservative, the expected and the optimistic outlook; what was measured here is in all of them."""
    kept = measured_here(group, works[1].engine)
    step, first = (kept.step, kept.first_token) if kept else (1.0, 1.0)
    steps, prompts, totals = (known.factor(metrics) for metrics in (("decode", "tpot"), ("ttft", "prompt"), ("throughput", "tpot")))
    if group.power_limit_w:
        from planner.speed.power import capped

        works = capped(works, group)
    slow, likely, fast = works
    return (
        Pace(slow, step * steps, first * prompts, step * totals, kept),
        Pace(likely, step, first, step, kept),
        Pace(fast, step / steps, first / prompts, step / totals, kept),
    )


def measured_here(group: GpuGroup, engine: str) -> Calibrated | None:
    """What `plan bench` kept of an engine on as many of these GPUs: another number has other links."""
    return next((kept for kept in group.gpu.calibrated_speeds if (kept.engine, kept.count) == (engine, group.count)), None)
