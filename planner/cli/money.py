"""The options of the load and of the money that `plan cost` and `plan compare` share."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli.command import Run, option
from planner.cli.options import Finite, type_of
from planner.questions.fields import FIELDS

LOAD, MONEY = "Load", "Money"


def above(most: float) -> Finite:
    """A number above zero."""
    return Finite(0, most, min_open=True)


def lengths(run: Run) -> Run:
    """--input and --output-tokens."""
    run = option("--output-tokens", type=type_of(FIELDS["output_tokens"]), group=LOAD, help="Tokens of an output: 500.")(run)
    return option("--input", type=type_of(FIELDS["input"]), group=LOAD, help="Tokens of a prompt: 2000.")(run)


def terms_of_money(run: Run) -> Run:
    """--years, --utilization, --usd-per-kwh and --prices."""
    for add_to in (
        option("--prices", type=click.Path(path_type=Path, dir_okay=False), group=MONEY, help="Your own prices (`plan schema prices`)."),
        option("--usd-per-kwh", type=above(1000), group=MONEY, help="What a kilowatt hour costs; else per_kwh of your prices."),
        option(
            "--utilization",
            type=Finite(0, 1, min_open=True),
            default=1.0,
            show_default=True,
            group=MONEY,
            help="The part of the paid hours in which it serves.",
        ),
        option("--years", type=above(50), default=3.0, show_default=True, group=MONEY, help="For how long a bought machine serves."),
    ):
        run = add_to(run)
    return run
