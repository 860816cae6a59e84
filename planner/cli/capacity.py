"""`plan capacity`: how many people a machine serves within limits, or how many machines a load needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from planner.cli.command import OWN_FILES, command, option, output_options, typed, words
from planner.cli.options import QUESTION, Finite, Seconds, question, read_machine
from planner.cli.own_rows import own_rows
from planner.cli.values import CapacityValues, values_of
from planner.errors import PlannerError
from planner.units import CONTEXT_STEP, round_up

if TYPE_CHECKING:
    from planner.engines.catalogue import Source
    from planner.engines.vllm.choice import Request
    from planner.engines.vllm.plan import Plan
    from planner.questions.capacity import Asked, Capacity, Lengths, Limits

GROUP_SIZES = (1, 2, 4, 8)  # GPUs of one server that are tried where no count is given


@command("capacity")
@question(vllm_only=True, without=("max_model_len",))
@option("--input", "prompt", default=2000, show_default=True, type=click.IntRange(1, 10_000_000), group="Load and limits", help="Tokens of a prompt.")
@option(
    "--output-tokens",
    "--answer",
    "answer",
    default=500,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    group="Load and limits",
    help="Tokens of an answer.",
)
@option("--ttft", default="2s", show_default=True, type=Seconds(), group="Load and limits", help="The first token within this time.")
@option("--tpot", default="50ms", show_default=True, type=Seconds(), group="Load and limits", help="A further token within this time, on average.")
@option("--rate", type=Finite(0, 1e6, min_open=True), group="Load and limits", help="Requests a second that arrive at random (a Poisson process).")
@option("--percentile", default=95.0, show_default=True, type=Finite(50, 99.9), group="Load and limits", help="Share of first tokens that --ttft holds for.")
@own_rows(group="Question")
@output_options
@click.pass_context
def capacity_command(ctx: click.Context, /, **options: object) -> None:
    """How many users at once and requests a second stay within --ttft and --tpot, and what binds.

    With --users (at once) or --rate: whether the GPUs hold it, or, without --count, how many GPUs it needs. Exit 1 where they do not.
    """
    from planner.questions.capacity import Asked, Lengths, Limits
    from planner.report.capacity import capacity_json, render

    values = read_machine(ctx, values_of(CapacityValues, options))
    lengths = Lengths(prompt=values.prompt, answer=values.answer)
    limits = Limits(first_token_s=values.ttft, per_token_s=values.tpot, share=values.percentile / 100)
    asked = Asked(users=values.service.users, requests_per_s=values.rate)
    counted = ctx.get_parameter_source("count") is not click.core.ParameterSource.DEFAULT or asked.nothing
    found, meets = _answer(values, lengths, limits, asked, counted=counted)
    if values.style == "json":
        click.echo(json.dumps(capacity_json(found, lengths, limits, asked, meets_wish=meets), indent=2))
    else:
        from planner.report.console import console

        console().print(render(found, lengths, limits, asked, meets_wish=meets), crop=False)
    ctx.exit(0 if meets else 1)


def _answer(values: CapacityValues, lengths: Lengths, limits: Limits, asked: Asked, *, counted: bool) -> tuple[list[Capacity], bool]:
    """All ways to use the GPUs (or all sizes of a server that hold the load), best first, and whether the first does what is asked."""
    from planner.cli.question import lone_row
    from planner.questions.capacity import fewest_gpus, holds, most_first
    from planner.questions.plan import request_of

    request, source = request_of(lone_row(replace(values, service=replace(values.service, users=None))))
    whole = lengths.prompt + lengths.answer
    limit = request.model.max_position_embeddings
    if request.model.pooling:
        raise PlannerError(f"{source.served_name} embeds texts; it gives no answers token by token", "name a chat model")
    if whole > limit:
        raise PlannerError(
            f"a prompt of {lengths.prompt:,} and an answer of {lengths.answer:,} tokens exceed the model's {limit:,}", "shorten --input or --output-tokens"
        )
    request = replace(request, context=request.context or min(limit, round_up(whole, CONTEXT_STEP)))
    found, refusals = _measured(request, source, values.count if counted else None, lengths, limits)
    if not found:
        raise PlannerError(refusals[0].message, refusals[0].hint)
    if counted or asked.nothing:
        ways = most_first(found, asked)
        holding = [way for way in ways if holds(way, asked)]
        return (holding or ways), bool(holding or asked.nothing) and bool(ways[0].expected.users)
    enough = fewest_gpus(found, asked)
    return (enough or most_first(found, asked)), bool(enough)


def _measured(request: Request, source: Source, count: int | None, lengths: Lengths, limits: Limits) -> tuple[list[Capacity], list[PlannerError]]:
    from planner.questions.capacity import measure

    found, refusals = [], []
    for group_size, replicas in _sizes(request, count):
        try:
            found.append(measure(_plan(request, source, group_size, lengths), replicas, lengths, limits))
        except PlannerError as refusal:
            refusals.append(refusal)
    return found, refusals


def _sizes(request: Request, count: int | None) -> Iterator[tuple[int, int]]:
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


def _plan_words(size: int) -> dict[str, object]:
    """What of the question the main command takes, for so many GPUs."""
    kept: dict[str, object] = {name: None for name in typed() if name not in (*QUESTION, *OWN_FILES)}
    return kept | {"count": size}


def _plan(request: Request, source: Source, size: int, lengths: Lengths) -> Plan:
    from planner.engines.vllm.plan import plan_as_asked

    asked = replace(request, group=replace(request.group, count=size))
    plan = plan_as_asked(asked, repo=source.repo, served_name=source.served_name)
    if plan.rejection:
        raise PlannerError(f"{size}x {request.group.gpu.title}: {plan.rejection.reason}", f"{words(_plan_words(size), command='')} says what would do")
    return plan
