"""What another engine would do where the one that is meant cannot: fewer bits, experts in main memory, layers on the CPU need no other machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import TypeVar

from planner.catalogue import resolve
from planner.catalogue.load import find_model
from planner.engines import ENGINES, Engine, first_engine
from planner.engines.alternatives import MOST_OFFERED, sure
from planner.errors import PlannerError
from planner.facts.alternatives import Alternative, Changed
from planner.facts.hardware import GpuGroup
from planner.facts.plan import Plan
from planner.facts.question import ServiceRow, StackRow
from planner.facts.speed import seen_by_each, significant
from planner.facts.verdict import Verdict
from planner.questions.choose import cannot_fit
from planner.questions.offers import gpus_bytes, room_bytes, weighed
from planner.questions.question import engine_of
from planner.questions.ways import Way, ways

_HARDWARE = frozenset({"count", "gpu", "nodes"})
_WISHES = frozenset({"users", "context", "max_model_len"})
_OF_MACHINE, _OF_SERVER = ({field.name: field.default for field in fields(part) if field.default is not MISSING} for part in (StackRow, ServiceRow))
Part = TypeVar("Part", StackRow, ServiceRow)
_OWN_FORM = ("quantization", "kv_cache_dtype")  # every engine reads them, each has names of its own


def with_others(found: Sequence[Alternative], row: StackRow, machine: GpuGroup, asked: Engine, for_all: frozenset[str]) -> tuple[Alternative, ...]:
    """What would do, with what another engine does on this very machine before what needs a further one.

    `for_all` are the fields of a question that every engine reads.
    """
    other = _by_another(row, machine, asked, for_all) if other_engines(found, row, machine) else None
    further = [change for change in found if _HARDWARE.intersection(dict(change.changed))]
    at_home = [change for change in found if change not in further]
    return (*at_home, *([other] if other else []), *further)[:MOST_OFFERED]


def other_engines(found: Sequence[Alternative], row: StackRow, machine: GpuGroup) -> str:
    """The titles of the engines that are asked; none where one was named, several models share the machine, or the one that is meant meets the whole wish there.

    What only the one that is meant does (adapters, drafts, scores of a reranker) is a wish too: no other is asked.
    """
    meets = any(not (_HARDWARE | _WISHES).intersection(dict(change.changed)) for change in found)
    main, entry = row.services[0], find_model(row.services[0].model)
    is_own = main.enable_lora or main.speculative_config is not None or (entry is not None and entry.row.kind == "reranker")
    if row.engine is not None or len(row.services) > 1 or meets or is_own:
        return ""
    meant = engine_of(None, machine.gpu)
    return " or ".join(ENGINES[name].title for name in weighed(machine, main.users or 1) if name != meant)


def instead(row: StackRow, machine: GpuGroup, asked: Engine, for_all: frozenset[str]) -> Alternative | None:
    """What another engine does of what the one that is meant refuses; None where none was sought or found."""
    return _by_another(row, machine, asked, for_all) if other_engines((), row, machine) else None


def _by_another(row: StackRow, machine: GpuGroup, asked: Engine, for_all: frozenset[str]) -> Alternative | None:
    """The first other engine's: all on the GPUs in the most bits, else the form of which least is read from main memory."""
    tried: set[str | None] = set()
    for name in weighed(machine, row.services[0].users or 1):
        if name == asked.name or (machine.cards and not ENGINES[name].splits_by_memory):
            continue
        found: list[tuple[bool, int, Alternative]] = []
        for way in _ways(row, machine, name):
            if way.quantization in tried:  # the same file, which another engine did not find room for
                continue
            tried.add(way.quantization)
            changed = _changed(row, way, for_all)
            plan = _planned(row, machine, changed)
            if plan is not None and plan.verdict is Verdict.STARTS and plan.requirements_met:
                found.append((not plan.is_all_on_gpus, plan.host_bytes, sure(_in_words(plan, way), changed)))
                if plan.is_all_on_gpus:
                    break
        if found:
            return min(found, key=lambda each: each[:2])[2]
    return None


def _ways(row: StackRow, machine: GpuGroup, name: str) -> list[Way]:
    """Those of one engine that the GPUs may hold, most bits first, of the model in whatever form it is published.

    Where there is none, of a model with experts the one of fewest bits of which main memory may hold some.
    """
    entry = find_model(row.services[0].model)
    is_form = entry is not None and entry.variant.is_checkpoint and entry.variant.is_the_model
    try:
        held = [way for ways_of_bits in ways([entry.row.name if entry and is_form else row.services[0].model], [name], machine.gpu) for way in ways_of_bits]
    except PlannerError:
        return []
    if entry is None:
        return held
    whole = [way for way in held if not cannot_fit(entry.row.parameters, way.bits, gpus_bytes(machine))]
    return whole or [way for way in held[-1:] if not cannot_fit(entry.row.parameters, way.bits, room_bytes(entry.row, name, machine))]


def _changed(row: StackRow, way: Way, for_all: frozenset[str]) -> Changed:
    """The options that ask it: the model in its form, the engine, and without what only the engine before has."""
    service = row.services[0]
    kept = {*for_all, *ENGINES[way.engine].own_settings, "comment"} - {*_OWN_FORM, "vllm_version"}
    said = [name for part, defaults in ((row, _OF_MACHINE), (service, _OF_SERVER)) for name, default in defaults.items() if getattr(part, name) != default]
    entry = find_model(service.model)
    is_same = entry is not None and entry == find_model(way.model)
    changed: dict[str, object] = {} if is_same or service.model == way.model else {"model": way.model}
    changed |= {name: None for name in said if name not in kept and (name, getattr(row, name, None)) != ("vllm_version", first_engine().versions[-1])}
    changed |= {"quantization": way.quantization} if way.quantization else {}
    return tuple((changed | {"engine": way.engine}).items())


def _planned(row: StackRow, machine: GpuGroup, changed: Changed) -> Plan | None:
    """The plan of a question that is asked otherwise; None where the engine refuses it."""
    values = dict(changed)
    service = _asked(row.services[0], {name: value for name, value in values.items() if name == "model" or name in _OF_SERVER})
    asked = replace(_asked(row, {name: value for name, value in values.items() if name in _OF_MACHINE}), vllm_version=None, services=[service])
    try:
        return ENGINES[str(asked.engine)].as_asked(asked, machine, resolve)
    except PlannerError:
        return None


def _asked(part: Part, values: Mapping[str, object]) -> Part:
    """The same part of a question with other values, the default's where one is left out."""
    defaults = _OF_MACHINE | _OF_SERVER
    said = dict(vars(part))
    said.update((name, defaults.get(name) if value is None else value) for name, value in values.items())
    return type(part)(**said)


def _in_words(plan: Plan, way: Way) -> str:
    engine, rate = ENGINES[way.engine], seen_by_each(plan.speed, plan.users)
    pace = f", about {significant(rate):,g} tokens/s" if rate else ""
    made = ", made here of the published weights" if plan.is_made_here else ""
    return f"{engine.title}, {engine.in_short(plan)}{made}{pace}"
