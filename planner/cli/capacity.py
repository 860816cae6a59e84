"""`plan capacity`: how many people a machine serves within limits, or how many machines a load needs."""

from __future__ import annotations

import click

from planner.cli.command import OWN_FILES, command, option, output_options, typed, words
from planner.cli.options import QUESTION, Finite, Seconds, question, read_machine
from planner.cli.own_rows import own_rows
from planner.cli.printing import print_json, print_report
from planner.cli.values import CapacityValues, values_of


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
    from planner.cli.question import lone_row
    from planner.questions.capacity import Lengths, Limits
    from planner.questions.replicas import capacity_for
    from planner.report.capacity import capacity_json, render

    values = read_machine(ctx, values_of(CapacityValues, options))
    answer = capacity_for(
        lone_row(values),
        Lengths(prompt=values.prompt, answer=values.answer),
        Limits(first_token_s=values.ttft, per_token_s=values.tpot, share=values.percentile / 100),
        requests_per_s=values.rate,
        counted=ctx.get_parameter_source("count") is not click.core.ParameterSource.DEFAULT,
        ask_again=_words_of_the_main_command,
    )
    if values.style == "json":
        print_json(capacity_json(answer))
    else:
        print_report(render(answer))
    ctx.exit(0 if answer.requirements_met else 1)


def _words_of_the_main_command(size: int) -> str:
    """What was typed, as far as the main command takes it, for so many GPUs."""
    kept: dict[str, object] = {name: None for name in typed() if name not in (*QUESTION, *OWN_FILES)}
    return words(kept | {"count": size}, command="")
