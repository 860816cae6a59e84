"""`plan capacity`: how many people a machine serves within limits, or how many machines a load needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from planner.cli.command import OWN_FILES, command, option, output_options, typed, words
from planner.cli.names import EngineName
from planner.cli.options import QUESTION, Finite, Seconds, question, read_machine
from planner.cli.own_rows import own_rows
from planner.cli.printing import print_json, print_report
from planner.cli.values import CapacityValues, values_of
from planner.engines import ENGINES, first_engine, usual_words
from planner.errors import PlannerError
from planner.facts.command_line import flag_of

if TYPE_CHECKING:
    from planner.questions.capacity import Limits


_SESSIONS = "Sessions of agents"


@command("capacity")
@question(vllm_only=True, without=("max_model_len",))
@option("--engine", type=EngineName(), group="Question", says=lambda: f"{', '.join(ENGINES)}; else {usual_words()}.")
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
@option(
    "--trace",
    type=click.Path(path_type=Path, dir_okay=False),
    group="Load and limits",
    help="A recorded load, replayed: Mooncake's JSON lines, BurstGPT's or Azure's CSV, a benchmark's --save-detailed result.",
)
@option("--rate", type=Finite(0, 1e6, min_open=True), group="Load and limits", help="Requests a second that arrive at random (a Poisson process).")
@option("--percentile", default=95.0, show_default=True, type=Finite(50, 99.9), group="Load and limits", help="Share of first tokens that --ttft holds for.")
@option("--turns", type=click.IntRange(1, 10_000), group=_SESSIONS, help="Each user is an agent's session of so many turns, whose context grows.")
@option("--pause", default="5s", show_default=True, type=Seconds(), group=_SESSIONS, help="From an answer to the next turn: a tool runs.")
@option("--tool-tokens", default=500, show_default=True, type=click.IntRange(1, 100_000_000), group=_SESSIONS, help="What a tool gives back.")
@option(
    "--subagents", default=0, show_default=True, type=click.IntRange(0, 1000), group=_SESSIONS, help="Conversations like it that a session keeps beside it."
)
@option(
    "--kv-offloading-size",
    default=0.0,
    type=Finite(0, 100_000),
    metavar="GIB",
    group=_SESSIONS,
    help="Main memory that keeps what leaves the KV cache of a server.",
)
@own_rows(group="Question")
@output_options
@click.pass_context
def capacity_command(ctx: click.Context, /, **options: object) -> None:
    """How many users at once and requests a second stay within --ttft and --tpot, and what binds.

    With --users (at once) or --rate: whether the GPUs hold it, or, without --count, how many GPUs it needs. With --trace: what its requests would wait.
    With --turns: how many sessions of agents stay warm in the KV cache.
    Exit 1 where the GPUs do not hold it.
    """
    from planner.cli.question import lone_row
    from planner.questions.capacity import Limits

    values = read_machine(ctx, values_of(CapacityValues, options))
    limits = Limits(first_token_s=values.ttft, per_token_s=values.tpot, share=values.percentile / 100)
    if values.trace is not None:
        _replay(ctx, values, limits)
    if values.turns is not None:
        _sessions(ctx, values, values.turns, limits)
    if given := next((name for name in ("pause", "tool_tokens", "subagents", "kv_offloading_size") if _is_given(ctx, name)), None):
        raise PlannerError(f"{flag_of(given)} is of sessions, and --turns is not given", "--turns 20")
    from planner.questions.capacity import Lengths
    from planner.questions.replicas import capacity_for
    from planner.report.capacity import capacity_json, render

    answer = capacity_for(
        replace(lone_row(values), engine=values.engine),
        Lengths(prompt=values.prompt, answer=values.answer),
        limits,
        requests_per_s=values.rate,
        counted=_is_given(ctx, "count"),
        ask_again=_words_of_the_main_command,
    )
    if values.style == "json":
        print_json(capacity_json(answer))
    else:
        print_report(render(answer))
    ctx.exit(0 if answer.requirements_met else 1)


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT


def _replay(ctx: click.Context, values: CapacityValues, limits: Limits) -> NoReturn:
    """Answer with a trace in place of equal requests. Raises PlannerError where both are asked for."""
    from planner.cli.question import lone_row
    from planner.questions.replay import replay_for
    from planner.questions.trace import read_trace
    from planner.report.replay import render, replay_json

    asked = {"--input": "prompt", "--output-tokens": "answer", "--rate": "rate", "--users": "users", "--turns": "turns"}
    if twice := next((flag for flag, name in asked.items() if _is_given(ctx, name)), None):
        raise PlannerError(f"{twice} and --trace both say what is asked of the servers", "leave one out")
    row = lone_row(values)
    if values.engine not in (None, first_engine().name):
        raise PlannerError(f"a trace is replayed on {first_engine().title}'s servers, and --engine {values.engine} is named", "leave one out")
    answer = replay_for(row, read_trace(values.trace or Path()), limits, ask_again=_words_of_the_main_command)
    if values.style == "json":
        print_json(replay_json(answer))
    else:
        print_report(render(answer))
    ctx.exit(0 if answer.requirements_met else 1)


def _sessions(ctx: click.Context, values: CapacityValues, turns: int, limits: Limits) -> NoReturn:
    """Answer for sessions of agents in place of single requests. Raises PlannerError where both are asked for."""
    from planner.cli.question import lone_row
    from planner.questions.sessions import Session, sessions_for
    from planner.report.sessions import render, sessions_json

    if _is_given(ctx, "rate"):
        raise PlannerError("--rate is of single requests, and --turns of sessions", "--users says how many sessions there are")
    if values.engine not in (None, first_engine().name):
        raise PlannerError(f"sessions are told of {first_engine().title}, and --engine {values.engine} is named", "leave one out")
    session = Session(
        prompt=values.prompt,
        answer=values.answer,
        tool=values.tool_tokens,
        turns=turns,
        pause_s=values.pause,
        subagents=values.subagents,
        offload_gib=values.kv_offloading_size,
    )
    answer = sessions_for(lone_row(values), session, limits, ask_again=_words_of_the_main_command)
    if values.style == "json":
        print_json(sessions_json(answer))
    else:
        print_report(render(answer))
    ctx.exit(0 if answer.requirements_met else 1)


def _words_of_the_main_command(size: int) -> str:
    """What was typed, as far as the main command takes it, for so many GPUs."""
    kept: dict[str, object] = {name: None for name in typed() if name not in (*QUESTION, *OWN_FILES)}
    return words(kept | {"count": size}, command="")
