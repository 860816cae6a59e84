"""`plan front`: what cannot be had cheaper, faster, longer or for more people without giving up another of these."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.command import OWN_FILES, command, option, output_options, typed
from planner.cli.names import Name
from planner.cli.own_rows import own_rows
from planner.cli.printing import print_at_width, print_json
from planner.errors import PlannerError
from planner.questions.command_line import command_line
from planner.report.head import HEAD
from planner.units import parse_context, tokens

if TYPE_CHECKING:
    from planner.questions.front import Point

COUNTS = (1, 2, 4, 8)
CONTEXTS = "8k,32k,128k"


@command("front")
@option("--model", required=True, type=Name("model"), help="A catalogue name (all its variants), owner/name on the Hub, or a folder with a config.json.")
@option("--contexts", default=CONTEXTS, show_default=True, help="Tokens, with commas.")
@option("--prices", type=click.Path(path_type=Path, dir_okay=False), help="Your own prices (`plan schema prices`).")
@option("--top", default=30, show_default=True, type=click.IntRange(0, 10_000), help="Rows to show; 0 shows all.")
@own_rows()
@output_options
def front_command(model: str, contexts: str, prices: Path | None, top: int, style: str) -> None:
    """Show the front of context, users at once, speed of one user and rent: every machine that no other beats in all four."""
    from planner.catalogue.cards import cards
    from planner.catalogue.prices import read_prices
    from planner.questions.front import front, points
    from planner.questions.stored import stored_ways

    try:
        lengths = tuple(dict.fromkeys(parse_context(text) for text in contexts.split(",")))
    except ValueError as error:
        raise PlannerError(f"--contexts: {error}") from None
    ways = [way for way in stored_ways(model, None) if not way.engine and way.form is None]
    limit = ways[0].model.max_position_embeddings
    fitting = tuple(sorted(length for length in lengths if 0 < length <= limit))
    if not fitting:
        raise PlannerError(f"no context of {contexts} is within the model's {tokens(limit)}", f"--contexts {limit}")
    all_points = front(points(ways, list(cards()), COUNTS, fitting, read_prices(prices)))
    if not all_points:
        own = {name: path for name, path in typed().items() if name in OWN_FILES}
        raise PlannerError(
            f"no machine with a rent and a known speed serves {model}",
            f"{command_line({'gpu': 'any', 'model': model, **own})} lists machines without prices too",
        )
    shown = all_points[: top or None]
    if style == "json":
        rows = [
            {**asdict(point), "stored": None, "model": point.stored.name, "bits": point.stored.bits} for point in (shown if "top" in typed() else all_points)
        ]
        print_json({**HEAD, "model": model, "front": [{key: value for key, value in row.items() if key != "stored"} for row in rows]})
        return
    _show(model, shown, len(all_points))


def _show(model: str, shown: list[Point], count: int) -> None:
    from planner.report.front import render

    print_at_width(lambda width: render(model, shown, count, width))
