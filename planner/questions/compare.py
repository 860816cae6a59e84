"""One model on one machine under every runtime that can serve it there: does it fit, how much context, for whom, and is it safe for agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from planner.catalogue.resolve import find_plain
from planner.engines import ENGINES
from planner.errors import PlannerError
from planner.facts.hardware import GpuSpec
from planner.facts.plan import Plan
from planner.facts.speed import NoSpeed, SpeedEstimate, expected_tokens_per_s
from planner.facts.verdict import Verdict
from planner.questions.comparison import Compared, RowLoad
from planner.questions.money import served_by
from planner.questions.ways import Way
from planner.units import CONTEXT_STEP, largest, round_up

MOST_USERS, USUAL_CONTEXT = 256, 8192


def usual_context(model: str, request_tokens: int = 0) -> int:
    """The context of which users are counted where none is asked: 8,192 tokens or what holds a request of so many, or all that the model has."""
    context = max(USUAL_CONTEXT, round_up(request_tokens, CONTEXT_STEP))
    if model.endswith(".gguf"):
        return context
    return min(context, find_plain(model).spec.max_position_embeddings)


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
            plan = ask(way, context, users, None)
            row = _compared(way.engine, plan)
        except PlannerError as error:
            refusals.append(" ".join(f"{error.message}; {error.hint}".split()).rstrip("; "))
            continue
        row = replace(row, bits=way.bits, arguments=way.arguments)
        if not row.is_sure:
            return replace(row, no_cost="it does not surely do what is asked with everything on the GPU")
        return _held(row, way, ask, users_context, users=users, asked=plan)
    return Compared(engine=ways[0].engine, bits=ways[0].bits, refusal=refusals[0])


def _held(row: Compared, way: Way, ask: Ask, context: int, *, users: int | None, asked: Plan) -> Compared:
    """The longest context of one user, and how many users of a shorter one are surely held, all runtimes with a cache of 16 bits; with its own where that holds fewer than asked."""
    least, longest = users or 1, ask(way, None, None, None)
    cache: str | None = ENGINES[way.engine].whole_cache
    held = _users(way, ask, context, cache)
    if held < least:
        cache = None
        held = _users(way, ask, context, cache)
    held = max(held, least if row.users >= least > 1 else 0)  # planned for so many, it held them
    many = ask(way, context, held, cache) if held else None
    total = many.speed.total_tokens_per_s if many and isinstance(many.speed, SpeedEstimate) else None
    loads = tuple(filter(None, (_load("asked", asked, users) if users else None, _load("full", many, held) if many else None)))
    return replace(
        row,
        loads=loads,
        no_cost="" if loads else row.speed_reason or "nothing is known of how long prompts take",
        longest_context=longest.longest_context,
        users_context=context,
        users_held=held,
        users_kv_cache=many.cache_type if many else "",
        total_tokens_per_s=total.expected if total else None,
    )


def _load(name: Literal["asked", "full"], plan: Plan, count: int) -> RowLoad | None:
    """What a plan serves of so many at once, all of which run together; None where its speed does not say."""
    speed = plan.speed
    if isinstance(speed, NoSpeed) or speed.users != count or speed.at_once < count or not (served := served_by(speed)):
        return None
    return RowLoad(load=name, concurrency=count, served=served, kv_cache=plan.cache_type)


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
