"""A view as one SVG file, and the style sheet that it shares with the page. It needs no library."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from planner.report.svg import sheet
from planner.report.view import View


@cache
def static(name: str) -> str:
    """A file that is shipped with the page."""
    return (Path(__file__).parents[1] / "web" / "static" / name).read_text("utf-8")


def picture(view: View) -> str:
    """The ledger and the curves."""
    return sheet(f"{view.title}: {view.headline}", [view.bar, *(drawing.svg for drawing in view.pictures)], static("style.css"))
