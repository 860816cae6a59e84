"""`plan compare`: one model on one machine under every runtime, side by side."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli.command import OWN_FILES, command, option, output_options, typed
from planner.cli.money import lengths, terms_of_money
from planner.cli.names import Name
from planner.cli.options import type_of
from planner.cli.own_rows import own_rows
from planner.cli.printing import print_json, print_report
from planner.errors import PlannerError
from planner.facts.hardware import Host
from planner.facts.question import HostName
from planner.questions.fields import FIELDS
from planner.units import parse_context


@command("compare")
@option("--gpu", "gpus", required=True, type=Name("gpu", many=True), help="The GPU or Mac, or several with commas: rtx4090, a100-80, m4-max-128gb, …")
@option("--count", "counts", default="1", show_default=True, help="How many of them, or several numbers with commas: 1,2 shows what a second one adds.")
@option(
    "--model",
    "models",
    required=True,
    type=Name("model", many=True),
    help="A catalogue name, owner/name on the Hub, or a folder with a config.json; or several with commas.",
)
@option("--context", help="The context wanted, e.g. 128k; else the longest that each surely holds.")
@option("--users", type=type_of(FIELDS["users"]), help="How many users, each at full context.")
@option(
    "--host", "host_kind", type=click.Choice([str(host) for host in Host]), default="server", show_default=True, help="The kind of machine, not an address."
)
@lengths
@terms_of_money
@own_rows()
@output_options
@click.pass_context
def compare_command(
    ctx: click.Context,
    /,
    *,
    gpus: str,
    counts: str,
    models: str,
    context: str | None,
    users: int | None,
    host_kind: HostName,
    input: int | None,  # noqa: A002 - as the option is called
    output_tokens: int | None,
    years: float,
    utilization: float,
    usd_per_kwh: float | None,
    prices: Path | None,
    style: str,
) -> None:
    """Put vLLM, Ollama, llama.cpp and MLX side by side, each with the same class of weights (16, 8, 4 bits), and say which is best for what.

    For every GPU, count and model named, with what its tokens cost; then what they come to beside each other, and what a dearer machine buys; exit 1 where none of them does what is asked.
    """
    from planner.questions.cost_terms import Terms
    from planner.questions.side_by_side import Asked, comparisons_of
    from planner.report.compare import render
    from planner.report.compare_json import comparisons_json

    asked = Asked(
        gpus=gpus,
        counts=counts,
        models=models,
        context=_context(context),
        users=users,
        host=host_kind,
        input=input,
        output_tokens=output_tokens,
        terms=Terms(years=years, utilization=utilization, usd_per_kwh=usd_per_kwh, prices=prices),
    )
    comparisons = comparisons_of(asked, {name: path for name, path in typed().items() if name in OWN_FILES})
    if style == "json":
        print_json(comparisons_json(comparisons))
    else:
        print_report(render(comparisons))
    ctx.exit(0 if any(row.is_sure for comparison in comparisons for row in comparison.rows) else 1)


def _context(text: str | None) -> int | None:
    try:
        return parse_context(text) if text else None
    except ValueError as error:
        raise PlannerError(f"--context: {error}") from None
