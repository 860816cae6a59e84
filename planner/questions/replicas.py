"""What a machine holds within limits of time: every way to divide its GPUs into servers, or how many servers a load needs; the best first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from planner.engines import first_engine
from planner.engines.catalogue import Source
from planner.engines.vllm.choice import Request
from planner.engines.vllm.plan import Plan, plan_as_asked
from planner.errors import PlannerError
from planner.facts.question import StackRow
from planner.facts.record import dataclass
from planner.questions.capacity import Asked, Capacity, Lengths, Limits, fewest_gpus, holds, most_first, seen_by
from planner.questions.machine import gpus_of
from planner.questions.plan import request_of
from planner.questions.question import asked_otherwise, engine_of, question_of
from planner.questions.slot_capacity import measure_slots
from planner.questions.vllm_capacity import measure
from planner.units import CONTEXT_STEP, round_up

GROUP_SIZES = (1, 2, 4, 8)  # GPUs of one server that are tried where no count is given
Way = TypeVar("Way")
AskAgain = Callable[[int], str]
"""The command line that plans one server on so many GPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityAnswer:
    """What a machine holds: ways to use its GPUs, the best first, and whether that one holds what was asked with conservative figures."""

    options: tuple[Capacity, ...]
    lengths: Lengths
    limits: Limits
    asked: Asked
    requirements_met: bool


def capacity_for(
    row: StackRow, lengths: Lengths, limits: Limits, *, requests_per_s: float | None = None, counted: bool = True, ask_again: AskAgain | None = None
) -> CapacityAnswer:
    """All ways to use the GPUs of a question (of a runtime with slots one server on all of them) or, where they are not `counted`, all sizes of a server that hold the load; `users` are those at once.

    Raises PlannerError where the model does not answer token by token, its request is too long, no server starts, or its speed is not known.
    """
    main = row.services[0]
    asked = Asked(users=main.users, requests_per_s=requests_per_s)
    counted = counted or asked.nothing
    if engine_of(row.engine, gpus_of(row.gpu, row)[0]) != first_engine().name:
        way = measure_slots(row, lengths, limits)
        return answered([way], lengths, limits, asked, met=(asked.nothing or holds(way, asked)) and bool(way.expected.users))
    row = replace(row, services=[replace(main, users=None)])
    request, source = request_of(row)
    about = f"a prompt of {lengths.prompt:,} and an answer of {lengths.answer:,} tokens"
    request = replace(request, context=request.context or context_of(request, source, lengths.prompt + lengths.answer, about))
    ways = each_way(
        (request, source),
        sizes(request, row.count if counted else None),
        lambda plan, replicas: measure(plan, replicas, lengths, limits),
        ask_again or again(row),
    )
    options, met = _best(ways, asked, counted=counted)
    return answered(options, lengths, limits, asked, met=met)


def answered(options: Iterable[Capacity], lengths: Lengths, limits: Limits, asked: Asked, *, met: bool) -> CapacityAnswer:
    """The answer, with what the users that were asked for see of each way."""
    users = asked.users
    told = tuple(replace(option, seen=seen_by(option, users, lengths)) if users else option for option in options)
    return CapacityAnswer(options=told, lengths=lengths, limits=limits, asked=asked, requirements_met=met)


def context_of(request: Request, source: Source, tokens: int, about: str, fix: str = "shorten --input or --output-tokens") -> int:
    """The context that a request of so many tokens needs; PlannerError where the model has none so long, or gives no answers."""
    limit = request.model.max_position_embeddings
    if request.model.pooling:
        raise PlannerError(f"{source.served_name} embeds texts; it gives no answers token by token", "name a chat model")
    if tokens > limit:
        raise PlannerError(f"{about} exceed the model's {limit:,}", fix)
    return min(limit, round_up(tokens, CONTEXT_STEP))


def _best(ways: list[Capacity], asked: Asked, *, counted: bool) -> tuple[list[Capacity], bool]:
    """The ways in their order, and whether the first does what is asked."""
    if counted:
        ordered = most_first(ways, asked)
        holding = [way for way in ordered if holds(way, asked)]
        return (holding or ordered), bool(holding or asked.nothing) and bool(ordered[0].expected.users)
    enough = fewest_gpus(ways, asked)
    return (enough or most_first(ways, asked)), bool(enough)


def each_way(model: tuple[Request, Source], wanted: Iterable[tuple[int, int]], measured: Callable[[Plan, int], Way], ask_again: AskAgain) -> list[Way]:
    """What is measured of each way: a plan and its replicas. PlannerError with the first refusal where none can be told."""
    ways: list[Way] = []
    refusals: list[PlannerError] = []
    for group_size, replicas in wanted:
        try:
            ways.append(measured(_plan(*model, group_size, ask_again), replicas))
        except PlannerError as refusal:
            refusals.append(refusal)
    if not ways:
        raise PlannerError(refusals[0].message, refusals[0].hint)
    return ways


def sizes(request: Request, count: int | None) -> Iterator[tuple[int, int]]:
    """GPUs of one server, and servers: every way to divide `count`, or one server of each usual size; a pinned size is kept."""
    pins = request.pins
    if pins.tensor_parallel_size or pins.pipeline_parallel_size:
        size = (pins.tensor_parallel_size or 1) * (pins.pipeline_parallel_size or 1)
        yield size, max(1, (count or size) // size)
        return
    if count is None:
        yield from ((size, 1) for size in GROUP_SIZES)
        return
    yield from ((size, count // size) for size in range(count, 0, -1) if count % size == 0)


def _plan(request: Request, source: Source, size: int, ask_again: AskAgain) -> Plan:
    plan = plan_as_asked(replace(request, group=replace(request.group, count=size)), repo=source.repo, served_name=source.served_name)
    if plan.rejection:
        raise PlannerError(f"{size}x {request.group.gpu.title}: {plan.rejection.reason}", f"{ask_again(size)} says what would do")
    return plan


def again(row: StackRow) -> AskAgain:
    """The main command for so many GPUs, by the question."""
    return lambda size: asked_otherwise(question_of(row), {"count": size})
