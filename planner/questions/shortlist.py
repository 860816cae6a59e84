"""What a question leaves open: which models a machine should run, and which machines serve a model."""

from __future__ import annotations

from math import floor
from pathlib import Path

from planner.catalogue.prices import read_prices
from planner.engines import ENGINES, first_engine
from planner.engines.vllm.versions import DEFAULT_VERSION
from planner.errors import PlannerError, UnsupportedError
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.record import dataclass
from planner.facts.speed import significant
from planner.facts.verdict import Verdict
from planner.questions.choose import Chosen, Wish, chosen_and_missed
from planner.questions.machines import Machine, Need, machines
from planner.questions.offers import USUAL_RAM_BYTES, offers, weighed
from planner.questions.stored import in_words, stored_ways
from planner.units import gib

DEFAULT_CONTEXT = 8192  # of a model whose machine is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsAnswer:
    """The catalogue's models that start on a machine, best first (docs/choosing.md)."""

    models: tuple[Chosen, ...]
    group: GpuGroup
    wish: Wish
    version: str | None = None
    """Of the first engine, where it is not the newest."""
    missed: tuple[Chosen, ...] = ()
    """Better models than the first, which surely start as asked but are slower than the floor."""

    @property
    def requirements_met(self) -> bool:
        """Whether the first surely starts and does what is asked."""
        return self.models[0].meets and self.models[0].fit.verdict is Verdict.STARTS

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken for granted."""
        slow = tuple(
            f"Left out as slower than {self.wish.floor:,g} tokens/s: {each.offer.name} ({each.offer.standing.words}), {significant(each.tokens_per_s or 0):,g} tokens/s"
            f" in {each.bits} bits; --min-speed {floor(each.tokens_per_s or 0)} offers it."
            for each in self.missed
        )
        if self.group.ram_bytes or self.group.gpu.unified_memory or all(model.fit.on_gpu for model in self.models):
            return slow
        return (
            *slow,
            f"Main memory of {gib(USUAL_RAM_BYTES)} was taken for granted, where a model lies there in part: --ram says how much there is.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinesAnswer:
    """The machines that surely serve a model as asked, cheapest first, and how many GPUs could at all."""

    machines: tuple[Machine, ...]
    gpus_that_could: int
    model: str
    need: Need
    compared: str = ""
    """Which engines and weights were asked, in words."""


def models_for(group: GpuGroup, wish: Wish, *, engine: str | None = None, version: str | None = None, top: int | None = None) -> ModelsAnswer:
    """The best models, at most `top`, by every engine that runs there or the one that is named; a release is the first one's. Raises PlannerError where none starts."""
    first = first_engine().name
    if version is not None and version != DEFAULT_VERSION:
        engine = engine or first
    if engine is not None and (why := ENGINES[engine].refuses(group.gpu)):
        raise PlannerError(f"{group.gpu.title}: {why}", _others(group.gpu, engine))
    if engine == first:
        _refuse_old(group.gpu, version or DEFAULT_VERSION)
    chosen, missed = chosen_and_missed(offers(group, wish.purpose, version, (engine,) if engine else weighed(group, wish.users or 1)), wish, top)
    if not chosen:
        raise PlannerError(f"no model of the catalogue starts on {group.label} for {wish.purpose} as asked", "a shorter --context, or --for chat")
    return ModelsAnswer(models=tuple(chosen), group=group, wish=wish, version=version if version != DEFAULT_VERSION else None, missed=tuple(missed))


def _refuse_old(gpu: GpuSpec, version: str) -> None:
    """A GPU that no model runs on is the answer, not that no model was found."""
    from planner.engines.vllm import rules
    from planner.engines.vllm.versions import newest_for

    try:
        rules.check_gpu(gpu, version)
    except UnsupportedError as error:
        older = newest_for(gpu.capability)
        raise PlannerError(str(error), f"--vllm-version {older}" if older else _others(gpu, first_engine().name)) from None


def _others(gpu: GpuSpec, refused: str) -> str:
    """What may run on a GPU that an engine refuses."""
    others = {name: engine.title for name, engine in ENGINES.items() if name != refused and not engine.refuses(gpu)}
    return f"{' or '.join(others.values())} may: plan --engine {list(others)[-1]} --model …"


def machines_for(
    model: str,
    prices: Path | None = None,
    *,
    quantization: str | None = None,
    context: int | None = None,
    users: int | None = None,
    min_tokens_per_s: float | None = None,
    top: int | None = None,
) -> MachinesAnswer:
    """The cheapest machines for a model, at most `top`, at the shipped prices and those of a file. Raises PlannerError where the model has no such context, or none serves it."""
    from planner.catalogue.cards import cards

    stored = stored_ways(model, quantization)
    limit = stored[0].model.max_position_embeddings
    wish = Wish(purpose="embedding" if stored[0].model.pooling else "chat", min_tokens_per_s=min_tokens_per_s)
    need = Need(context or min(limit, DEFAULT_CONTEXT), users or 1, wish.floor)
    if need.context > limit:
        raise PlannerError(f"a context of {need.context:,} is beyond the model's {limit:,}", f"use --context {limit}")
    gpus = list(cards())
    cheapest, could = machines(stored, gpus, need, read_prices(prices), top or len(gpus))
    return MachinesAnswer(machines=tuple(cheapest), gpus_that_could=could, model=model, need=need, compared=in_words(stored))
