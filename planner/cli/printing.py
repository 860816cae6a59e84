"""The one place where text goes out, and where standard input comes in: JSON, a report for a terminal, a line. Nothing of a stranger's drives the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from io import TextIOWrapper
from typing import TYPE_CHECKING, TextIO

import click

from planner.report.head import json_text
from planner.text import told

if TYPE_CHECKING:
    from planner.report.text import Piece, Text

PIPED_WIDTH = 160  # where nobody looks at a terminal and COLUMNS does not say otherwise: whole tables
LEAST_WIDTH, MOST_WIDTH = 40, 500


def tell(text: str = "", *, err: bool = False, nl: bool = True, dim: bool = False) -> None:
    """Print lines, controls and marks that turn the direction of writing in them as they are escaped in JSON."""
    text = told(text)
    click.echo(click.style(text, dim=True) if dim else text, err=err, nl=nl)


def read_input() -> TextIO:
    """Standard input, of which every byte is a letter."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    return sys.stdin


def print_json(answer: object) -> None:
    """Print an answer as JSON."""
    tell(json_text(answer))


def print_report(report: Iterable[Piece]) -> None:
    """Print a report, whole: long lines are folded, not cut."""
    print_at_width(lambda _: report)


def print_at_width(report: Callable[[int], Iterable[Piece]]) -> None:
    """Print a report that asks how wide it may be. Its lines are the same in a pipe and on a terminal; the latter's Rich paints, as it knows terminals."""
    is_terminal = sys.stdout.isatty()
    if not is_terminal and not os.environ.get("FORCE_COLOR"):
        width = piped_width()
        tell("".join(f"{line.plain}\n" for line in _lines(report(width), width)), nl=False)
        return
    from rich.console import Console
    from rich.text import Text as Painted

    console = Console(width=None if is_terminal else piped_width(), highlight=False)
    for line in _lines(report(console.width), console.width):
        console.print(Painted.assemble(*((told(text), style) for text, style in line.spans)), no_wrap=True, overflow="ignore", crop=False)


def piped_width() -> int:
    """How wide a report is where no terminal tells: as COLUMNS says."""
    said = os.environ.get("COLUMNS", "")
    return min(MOST_WIDTH, max(LEAST_WIDTH, int(said))) if said.isascii() and said.isdigit() and len(said) < 6 else PIPED_WIDTH


def _lines(report: Iterable[Piece], width: int) -> Iterable[Text]:
    return (line for piece in report for line in piece.lines(width))
