"""How an answer reaches standard output: as JSON, or as a report for a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from planner.report.head import json_text

if TYPE_CHECKING:
    from planner.report.text import Piece, Text

PIPED_WIDTH = 160  # where nobody looks at a terminal: whole tables


def print_json(answer: object) -> None:
    """Print an answer as JSON."""
    click.echo(json_text(answer))


def print_report(report: Iterable[Piece]) -> None:
    """Print a report, whole: long lines are folded, not cut."""
    print_at_width(lambda _: report)


def print_at_width(report: Callable[[int], Iterable[Piece]]) -> None:
    """Print a report that asks how wide it may be. Its lines are the same in a pipe and on a terminal; the latter's Rich paints, as it knows terminals."""
    is_terminal = sys.stdout.isatty()
    if not is_terminal and not os.environ.get("FORCE_COLOR"):
        click.echo("".join(f"{line.plain}\n" for line in _lines(report(PIPED_WIDTH), PIPED_WIDTH)), nl=False)
        return
    from rich.console import Console
    from rich.text import Text as Painted

    console = Console(width=None if is_terminal else PIPED_WIDTH, highlight=False)
    for line in _lines(report(console.width), console.width):
        console.print(Painted.assemble(*line.spans), no_wrap=True, overflow="ignore", crop=False)


def _lines(report: Iterable[Piece], width: int) -> Iterable[Text]:
    return (line for piece in report for line in piece.lines(width))
