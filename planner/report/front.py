"""The Pareto front for the terminal: the machines as a table, users over rent as a chart."""

from __future__ import annotations

from collections.abc import Sequence

from planner.facts.speed import significant
from planner.questions.front import Point
from planner.report.chart import scatter
from planner.report.table import Column, Fitted, Row
from planner.report.text import Piece, Text
from planner.units import tokens

CHART_WIDTH = 120  # at most
_COLUMNS = (
    Column("#"),
    Column("GPUs", is_left=True, style="bold"),
    Column("rent an hour"),
    Column("context", 1),
    Column("users", 1),
    Column("tokens/s", 1),
    Column("weights", 2, is_left=True),
    Column("how", 3, is_left=True),
)


def render(model: str, shown: Sequence[Point], count: int, width: int) -> list[Piece]:
    """The report: the table, what its figures are, the chart."""
    said = f"{len(shown)} of {count} points. Users: requests of the context that the KV cache surely holds. tokens/s: one user alone; equal within a tenth."
    return [table(model, shown), Text(said, "dim"), Text(), Text(chart(shown, min(width, CHART_WIDTH)), is_whole=True)]


def table(model: str, shown: Sequence[Point]) -> Fitted:
    """The points, cheapest first."""
    rows = []
    for place, point in enumerate(shown, 1):
        how = f"tp {point.tensor_parallel_size}" + (", FP8 KV cache" if point.kv_cache_dtype != "auto" else "")
        figures = (tokens(point.context), str(point.users), f"{significant(point.tokens_per_s):g}")
        rows.append(Row((str(place), f"{point.count}x {point.gpu}", f"${point.usd_per_hour:.2f}", *figures, point.stored.name, how)))
    return Fitted(_COLUMNS, rows, f"The front of {model}, cheapest first")


def chart(shown: Sequence[Point], width: int) -> str:
    """Users over the rent, one sign a context, both axes logarithmic."""
    contexts = sorted({point.context for point in shown})
    series = [
        (f"{tokens(context)} tokens of context", [(point.usd_per_hour, float(point.users)) for point in shown if point.context == context])
        for context in contexts
    ]
    return scatter(series, x_label="US dollars an hour", y_label="users at full length", width=width)
