"""`plan front`: what cannot be had cheaper, faster, longer or for more people without giving up another of these."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli_command import command, option, output_options
from planner.cli_names import Name
from planner.errors import PlannerError
from planner.units import parse_context, tokens

if TYPE_CHECKING:
    from planner.front import Point

COUNTS = (1, 2, 4, 8)
CONTEXTS = "8k,32k,128k"
CHART_WIDTH, CHART_HEIGHT = 100, 20


@command("front")
@option("--model", required=True, type=Name("model"), help="A catalogue name (all its variants), owner/name on the Hub, or a folder with a config.json.")
@option("--contexts", default=CONTEXTS, show_default=True, help="Tokens, with commas.")
@option("--prices", type=click.Path(path_type=Path, dir_okay=False), help="Your own prices (`plan schema prices`).")
@option("--top", default=30, show_default=True, type=click.IntRange(0, 10_000), help="Rows to show; 0 shows all.")
@output_options
def front_command(model: str, contexts: str, prices: Path | None, top: int, style: str) -> None:
    """Show the front of context, users at once, speed of one user and rent: every machine that no other beats in all four."""
    from planner.catalog import gpu_rows
    from planner.cli_choose import stored_ways
    from planner.front import front, points
    from planner.prices import read_prices

    try:
        lengths = tuple(dict.fromkeys(parse_context(text) for text in contexts.split(",")))
    except ValueError as error:
        raise PlannerError(f"--contexts: {error}") from None
    ways = stored_ways(model, None)
    limit = ways[0].model.max_position_embeddings
    fitting = tuple(sorted(length for length in lengths if 0 < length <= limit))
    if not fitting:
        raise PlannerError(f"no context of {contexts} is within the model's {tokens(limit)}", f"--contexts {limit}")
    found = front(points(ways, [row.spec() for row in gpu_rows() if row.vendor != "apple"], COUNTS, fitting, read_prices(prices)))
    if not found:
        raise PlannerError(f"no machine with a rent and a known speed serves {model}", "plan --model without --gpu lists machines without prices too")
    shown = found[: top or None]
    if style == "json":
        rows = [{**asdict(point), "stored": None, "model": point.stored.name, "bits": point.stored.bits} for point in found]
        click.echo(
            json.dumps({"schema": 1, "model": model, "front": [{key: value for key, value in row.items() if key != "stored"} for row in rows]}, indent=2)
        )
        return
    _show(model, shown, len(found))


def _show(model: str, shown: list[Point], count: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from planner.estimate import significant

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim", title=f"The front of {model}, cheapest first", title_justify="left", title_style="bold")
    for name in ("rent an hour", "GPUs", "weights", "how", "context", "users at once", "tokens/s"):
        table.add_column(name, justify="left" if name in ("GPUs", "weights", "how") else "right", no_wrap=True)
    for point in shown:
        how = f"tp {point.tensor_parallel_size}" + (", FP8 KV cache" if point.kv_cache_dtype != "auto" else "")
        figures = (tokens(point.context), str(point.users), f"{significant(point.tokens_per_s):g}")
        table.add_row(f"${point.usd_per_hour:.2f}", f"{point.count}x {point.gpu}", point.stored.name, how, *figures)
    console.print(table, crop=False)
    console.print(Text(f"{len(shown)} of {count} points. tokens/s: one user alone; equal within a tenth.", "dim"))
    click.echo(chart(shown))


def chart(shown: list[Point]) -> str:
    """Users at once over the rent, one sign a context, both axes logarithmic."""
    import uniplot

    contexts = sorted({point.context for point in shown})
    series = [[point for point in shown if point.context == context] for context in contexts]
    text: str = uniplot.plot_to_string(
        xs=[[point.usd_per_hour for point in points] for points in series],
        ys=[[float(point.users) for point in points] for points in series],
        x_as_log=True,
        y_as_log=True,
        legend_labels=[f"{tokens(context)} tokens" for context in contexts],
        title="users at once over US dollars an hour",
        character_set="ascii",
        color=False,
        width=CHART_WIDTH,
        height=CHART_HEIGHT,
    )
    return "\n".join(line.rstrip() for line in text.splitlines())
