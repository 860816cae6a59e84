"""The catalogue's models as offers for one machine: each in every way that an engine which runs there serves it, least quantized first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial

from planner.catalogue import resolve
from planner.catalogue.load import Entry, model_rows
from planner.catalogue.rows import ModelRow
from planner.catalogue.sizes import active
from planner.engines import ENGINES, first_engine
from planner.engines.catalogue import Catalogue
from planner.errors import PlannerError
from planner.facts import variant as published
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec
from planner.facts.plan import Plan
from planner.facts.question import ServiceRow, StackRow
from planner.facts.record import dataclass
from planner.questions.choose import LOADED_SHARE, LOST_DOUBLINGS, Fit, Offer, Variant, Wish, cannot_fit
from planner.questions.compare import runtimes
from planner.questions.standing import Rated, Standing, standings
from planner.questions.ways import CLASSES, Way, ways
from planner.speed.estimate import is_diffusion
from planner.units import GIB

USUAL_RAM_BYTES = 32 * GIB  # GUESS: of a machine whose main memory nobody told, where an engine may use it
FEW_USERS = 8  # GUESS: more than a household; engines that keep a cache for each were not measured with so many
LOSSLESS_BITS = 16
SAFETY = ("yes", "partly", "no")  # for agents, the best first


def offers(group: GpuGroup, purpose: str, version: str | None = None, engines: Sequence[str] = ()) -> Iterator[Offer]:
    """What the catalogue has for a purpose, by all engines that are weighed there, or those named."""
    names = engines or weighed(group)
    rows = list(model_rows())
    held = standings(map(rated, rows), purpose)
    for row in rows:
        if suits(row, purpose):
            yield _offer(row, held[row.name], partial(_variants, row, group, names, purpose, version))


def weighed(group: GpuGroup, users: int = 1) -> tuple[str, ...]:
    """The engines among which models are chosen where none is named: all that run there; for many users, and on cards of data centres, the usual one."""
    names = runtimes(group.gpu)
    if group.gpu.memory_type != "hbm" and users <= FEW_USERS:
        return names
    return tuple(name for name in names if group.gpu.vendor in ENGINES[name].usual_on) or names


def suits(row: ModelRow, purpose: str) -> bool:
    """Whether a model is offered for a purpose: one that answers and was trained for more than a task that is none of them."""
    if purpose == "embedding" or row.kind in ("embedding", "reranker", "speech", "drafter"):
        return purpose == row.kind
    if row.only_for or _default(row).is_base or any(map(is_diffusion, row.config.get("architectures") or [])):
        return False  # how fast a diffusion model is cannot be held against a floor
    if purpose == "vision":
        return row.kind == "vision"
    return row.tool_parser is not None if purpose == "agent" else True


def rated(row: ModelRow) -> Rated:
    """What its standing is told from."""
    return Rated(
        name=row.name,
        family=row.family,
        parameters=row.parameters,
        active_parameters=active(row),
        released=row.released,
        for_code=row.made_for_code,
        replaces=row.replaces,
        based_on=row.based_on,
        quality=tuple(row.quality),
    )


def _offer(row: ModelRow, standing: Standing, variants: Callable[[], Sequence[Variant]]) -> Offer:
    """What the catalogue says of a model, before its variants are looked at."""
    return Offer(
        name=row.name,
        released=row.released,
        released_at_least=row.released_at_least,
        replaces=row.replaces,
        based_on=row.based_on,
        parameters=row.parameters,
        active_parameters=active(row),
        standing=standing,
        spec=cache(partial(_spec, row)),
        variants=variants,
    )


def _default(row: ModelRow) -> published.Variant:
    return next((variant for variant in row.variants if variant.default), row.variants[0])


def _spec(row: ModelRow) -> ModelSpec:
    return Entry(row, _default(row)).spec()


def _variants(row: ModelRow, group: GpuGroup, engines: Sequence[str], purpose: str, version: str | None) -> list[Variant]:
    """The ways to serve it, least quantized first; of equal ones those that an agent is safe with, then the usual engine's."""
    try:
        held = [way for row_of_ways in ways([row.name], engines, group.gpu) for way in row_of_ways]
    except PlannerError:
        return []
    architecture = (row.config.get("architectures") or [""])[0]
    made = [way for way in held if not (way.quantization and way.bits == LOSSLESS_BITS)]  # 8 bits of an engine's own are as good, and usual
    rank = {name: SAFETY.index(ENGINES[name].agent_safety(architecture)[0]) if purpose == "agent" else 0 for name in engines}
    made.sort(key=lambda way: (-way.bits, rank[way.engine]))
    fit = partial(_fit, _Here(group, version, Remembered()), _spec_limit(row))
    published_bits = min(CLASSES, key=lambda bits: abs(bits - Entry(row, _default(row)).bits))
    return [
        Variant(
            bits=way.bits,
            engine=ENGINES[way.engine].title,
            form=way.quantization or "",
            lost_doublings=max(0.0, LOST_DOUBLINGS[way.bits] - LOST_DOUBLINGS[published_bits]),
            most_tokens_per_s=_most_tokens_per_s(row, way.bits, group),
            is_too_large=cannot_fit(row.parameters, way.bits, room_bytes(row, way.engine, group)),
            fit=partial(fit, way),
        )
        for way in made
    ]


def _most_tokens_per_s(row: ModelRow, bits: int, group: GpuGroup) -> float:
    """What one user sees at most: all GPUs read what a token uses, at their full bandwidth."""
    return group.count * group.gpu.bandwidth_bytes_per_s / (active(row) * bits / 8 * LOADED_SHARE)


def room_bytes(row: ModelRow, engine: str, group: GpuGroup) -> int:
    """What may hold weights: the GPUs, and main memory for experts, of which a token reads few, where the engine serves from there."""
    shares = not group.gpu.unified_memory and ENGINES[engine].uses_main_memory and _has_experts(row)
    return gpus_bytes(group) + (_with_ram(group, engine).ram_bytes if shares else 0)


def gpus_bytes(group: GpuGroup) -> int:
    """What all GPUs have, which may differ."""
    return sum(member.gpu.cuda_total_bytes for member in group.members)


def _with_ram(group: GpuGroup, engine: str) -> GpuGroup:
    """The machine with the usual main memory where nobody told how much there is and the engine serves from it."""
    told = group.ram_bytes or group.gpu.unified_memory or not ENGINES[engine].uses_main_memory
    return group if told else replace(group, ram_bytes=USUAL_RAM_BYTES)


def _has_experts(row: ModelRow) -> bool:
    texts = [row.config, *(value for value in row.config.values() if isinstance(value, dict))]
    return any("experts" in key for text in texts for key in text)


def _spec_limit(row: ModelRow) -> Callable[[], int]:
    return lambda: _spec(row).max_position_embeddings


class Remembered:
    """The catalogue, which builds a model once for all the ways to serve it."""

    def __init__(self) -> None:
        self.check_name = resolve.check_name
        self.find_plain, self.find_source = cache(resolve.find_plain), cache(resolve.find_source)
        self.read_gguf, self.cards_of_the_price = resolve.read_gguf, resolve.cards_of_the_price


@dataclass(frozen=True, slots=True)
class _Here:
    """The machine, a release where one is named, and the catalogue."""

    group: GpuGroup
    version: str | None
    catalogue: Catalogue


def _fit(here: _Here, limit: Callable[[], int], way: Way, wish: Wish) -> Fit:
    """How a way fits the machine; a model that embeds is not divided where each GPU holds a copy. Raises PlannerError where its engine refuses it."""
    if wish.purpose == "embedding" and here.group.count > 1 and way.engine == first_engine().name and way.replicas == 1:
        copies = _fit(here, limit, replace(way, replicas=here.group.count), wish)
        return _fit_as(here, limit, way, wish) if copies.verdict.falls_short else copies
    return _fit_as(here, limit, way, wish)


def _fit_as(here: _Here, limit: Callable[[], int], way: Way, wish: Wish) -> Fit:
    group, version = here.group, here.version
    service = ServiceRow(
        model=way.model,
        quantization=way.quantization,
        context=wish.wanted_context(limit()),
        users=wish.users,
        data_parallel_size=way.replicas if way.replicas > 1 else None,
    )
    row = StackRow(
        gpu=group.gpu.name, count=group.count, engine=way.engine, host=group.host.value, vllm_version=version, ram=group.ram_bytes or None, services=[service]
    )
    engine = ENGINES[way.engine]
    plan = engine.as_asked(row, _with_ram(group, way.engine), here.catalogue)
    return Fit(
        engine=engine.title,
        arguments=way.arguments,
        repo=plan.model.id,
        verdict=plan.verdict,
        context=plan.context,
        longest_context=plan.longest_context or (0 if plan.verdict.falls_short else plan.context),
        at_once=at_once(plan, way.replicas),
        users=plan.users if plan.model.keeps_cache else wish.users or 1,
        weights_bytes=next((line.bytes for line in plan.lines if line.key == "weights"), 0),
        settings=engine.in_short(plan),
        graphs=not plan.model.keeps_cache or dict(plan.settings).get("enforce_eager") is not True,
        on_gpu=plan.is_all_on_gpus,
        speed=plan.speed,
    )


def at_once(plan: Plan, replicas: int = 1) -> float:
    """Requests of the context that are surely served at once, by all replicas."""
    most = dict(plan.settings).get("max_num_seqs")
    if not plan.model.keeps_cache and isinstance(most, int):
        return float(most * replicas)
    return plan.concurrency.conservative * replicas if plan.concurrency else float(plan.users)
