"""How an answer reaches standard output: as JSON, or as a report for a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import RenderableType


def json_text(answer: object) -> str:
    """An answer as JSON, as people and diffs read it."""
    return json.dumps(answer, indent=2)


def print_json(answer: object) -> None:
    """Print an answer as JSON."""
    click.echo(json_text(answer))


def print_report(report: RenderableType) -> None:
    """Print a report, whole: long lines are folded, not cut."""
    from planner.report.console import console

    console().print(report, crop=False)
