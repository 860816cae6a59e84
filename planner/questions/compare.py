"""One model on one machine under every runtime that can serve it there: does it fit, how much context, for whom, and is it safe for agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from planner.catalogue.resolve import find_plain
from planner.engines import ENGINES
from planner.errors import PlannerError
from planner.facts.hardware import GpuSpec
from planner.facts.plan import Plan
from planner.facts.speed import NoSpeed, SpeedEstimate, expected_tokens_per_s
from planner.facts.verdict import Verdict
from planner.questions.comparison import Compared
from planner.questions.ways import Way
from planner.units import largest

MOST_USERS, USUAL_CONTEXT = 256, 8192


def usual_context(model: str) -> int:
    """The context of which users are counted where none is asked: 8,192 tokens, or all that the model has."""
    if model.endswith(".gguf"):
        return USUAL_CONTEXT
    return min(USUAL_CONTEXT, find_plain(model).spec.max_position_embeddings)


def runtimes(gpu: GpuSpec) -> tuple[str, ...]:
    """The engines that a GPU runs, the usual one first."""
    return tuple(name for name, engine in ENGINES.items() if not engine.refuses(gpu))


Ask = Callable[[Way, int | None, int | None, str | None], Plan]
"""Answers for one way, a context, a number of users and a type of KV cache (None: the engine's choice), or raises PlannerError with what it cannot do."""


def compare(rows: Sequence[Sequence[Way]], ask: Ask, context: int | None, users: int | None, users_context: int) -> list[Compared]:
    """Ask each runtime the same question for each class of weights: of the ways that a row may be served, the first that is not refused."""
    return [_row(ways, ask, context, users, users_context) for ways in rows]


def _row(ways: Sequence[Way], ask: Ask, context: int | None, users: int | None, users_context: int) -> Compared:
    refusals = []
    for way in ways:
        try:
            row = _compared(way.engine, ask(way, context, users, None))
        except PlannerError as error:
            refusals.append(" ".join(f"{error.message}; {error.hint}".split()).rstrip("; "))
            continue
        row = replace(row, bits=way.bits, arguments=way.arguments)
        return _held(row, way, ask, users_context, users or 1) if row.is_sure else row
    return Compared(engine=ways[0].engine, bits=ways[0].bits, refusal=refusals[0])


def _held(row: Compared, way: Way, ask: Ask, context: int, least: int) -> Compared:
    """The longest context of one user, and how many users of a shorter one are surely held, all runtimes with a cache of 16 bits; with its own where that holds fewer than asked."""
    longest = ask(way, None, None, None)
    cache: str | None = ENGINES[way.engine].whole_cache
    held = _users(way, ask, context, cache)
    if held < least:
        cache = None
        held = _users(way, ask, context, cache)
    held = max(held, least if row.users >= least > 1 else 0)  # planned for so many, it held them
    many = ask(way, context, held, cache) if held else None
    total = many.speed.total_tokens_per_s if many and isinstance(many.speed, SpeedEstimate) else None
    return replace(
        row,
        longest_context=longest.longest_context,
        users_context=context,
        users_held=held,
        users_kv_cache=many.cache_type if many else "",
        total_tokens_per_s=total.expected if total else None,
    )


def _users(way: Way, ask: Ask, context: int, cache: str | None) -> int:
    """Users of a context that are surely held, everything on the GPU."""

    def holds(users: int) -> bool:
        try:
            plan = ask(way, context, users, cache)
        except PlannerError:
            return False
        return plan.verdict is Verdict.STARTS and plan.is_whole and plan.users >= users

    try:
        alone = ask(way, context, None, cache)
    except PlannerError:
        return 0
    if alone.concurrency:
        return min(MOST_USERS, alone.users) if alone.verdict is Verdict.STARTS else 0
    return largest(MOST_USERS, holds)


def _compared(name: str, plan: Plan) -> Compared:
    engine, program = ENGINES[name], plan.service.engine
    safe, note = engine.agent_safety(plan.model.architecture)
    return Compared(
        engine=name if program == name else f"{name} ({program})",
        quantization=plan.model.quantization or "16-bit",
        verdict=plan.verdict,
        context=plan.context,
        users=plan.concurrency.expected if plan.concurrency else float(plan.users),
        used_bytes=plan.used_bytes,
        available_bytes=plan.available_bytes,
        tokens_per_s=expected_tokens_per_s(plan.speed),
        speed_reason=plan.speed.reason if isinstance(plan.speed, NoSpeed) else None,
        layers_on_cpu=plan.layers - plan.layers_on_gpu,
        layers=plan.layers,
        host_bytes=plan.host_bytes,
        kv_cache=plan.cache_type if plan.model.keeps_cache else "",
        requirements_met=plan.requirements_met,
        agent_safe=safe,
        agent_note=note,
        steps=tuple(engine.steps),
    )
