"""`plan cost`: what tokens cost on a machine, rented or bought, beside an API's price."""

from __future__ import annotations

from dataclasses import replace

import click

from planner.cli.command import command, option, output_options
from planner.cli.money import LOAD, MONEY, above, lengths, terms_of_money
from planner.cli.names import EngineName
from planner.cli.options import Finite, question, read_machine, type_of
from planner.cli.own_rows import own_rows
from planner.cli.printing import print_json, print_report
from planner.cli.values import CostValues, values_of
from planner.questions.fields import FIELDS, MOST_DOCUMENTS, MOST_USD, MOST_WATTS


@command("cost")
@question(without=("users",))
@option("--engine", type=EngineName(), group="Question", help="The runtime; else the usual one of such a GPU.")
@lengths
@option(
    "--concurrency",
    type=type_of(FIELDS["concurrency"]),
    group=LOAD,
    help="Requests at once; else as many as fit, at most 16, or the one that an engine with a slot a user serves.",
)
@option("--rate", type=above(1e6), group=LOAD, help="Requests a second in place of --concurrency: on as many machines as hold them.")
@option("--documents", type=click.IntRange(1, MOST_DOCUMENTS), group=LOAD, help="How many requests in all: their hours and their money.")
@option("--rent-usd-per-hour", type=above(MOST_USD), group=MONEY, help="What an hour of the whole machine costs; else the price that is known.")
@option("--buy-usd", type=above(MOST_USD), group=MONEY, help="What the whole machine costs to buy; else the GPUs' price that is known.")
@terms_of_money
@option("--watts", type=above(MOST_WATTS), group=MONEY, help="What the machine draws at that load, measured; else the makers' limit of the GPUs.")
@option("--idle-watts", type=Finite(0, MOST_WATTS), default=0.0, group=MONEY, help="What it draws in the hours that do not serve; else not counted.")
@option("--api", default="", metavar="PROVIDER:MODEL", group=MONEY, help="The API to compare with; else the cheapest that has the same or a like model.")
@own_rows(group="Question")
@output_options
@click.pass_context
def cost_command(ctx: click.Context, /, **options: object) -> None:
    """Say what a million prompt and output tokens cost at a load and at full load, rented and bought, beside an API's price.

    With --documents: hours and money for so many. Then where the machine and the API, or buying and renting, cost the same.
    """
    from planner.cli.question import lone_row
    from planner.questions.cost import cost_of
    from planner.questions.cost_terms import Terms
    from planner.report.cost import render
    from planner.report.cost_json import cost_json

    values = read_machine(ctx, values_of(CostValues, options))
    terms = Terms(
        rent_usd_per_hour=values.rent_usd_per_hour,
        buy_usd=values.buy_usd,
        years=values.years,
        utilization=values.utilization,
        usd_per_kwh=values.usd_per_kwh,
        watts=values.watts,
        idle_watts=values.idle_watts,
        requests_per_s=values.rate,
        documents=values.documents,
        prices=values.prices,
        api=values.api,
    )
    answer = cost_of(replace(lone_row(values), engine=values.engine), terms)
    if values.style == "json":
        print_json(cost_json(answer))
    else:
        print_report(render(answer))
