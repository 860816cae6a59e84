"""What moved between two plans, for the terminal and as JSON."""

from __future__ import annotations

from typing_extensions import TypedDict

from planner.facts.verdict import Verdict
from planner.questions.drift import Drift, Move, Moved
from planner.report.contract_parts import AnswerJson
from planner.report.head import HEAD
from planner.report.text import Piece, Text
from planner.text import shown
from planner.units import gib

_MOST_LETTERS = 120


class MoveJson(TypedDict):
    """One thing that moved: its kind (verdict, question, release, setting, flag, bytes, figure, speed, problem), name and values; null is what is not there."""

    kind: Moved
    server: str
    name: str
    old: object
    new: object


class DriftJson(AnswerJson):
    """What moved between two answers; `worse` where the verdict fell, or what was met no longer is."""

    worse: bool
    old_verdict: Verdict
    new_verdict: Verdict
    moves: list[MoveJson]


def drift_json(drift: Drift) -> DriftJson:
    """The JSON object of what moved."""
    return {
        **HEAD,
        "worse": drift.is_worse,
        "old_verdict": drift.old,
        "new_verdict": drift.new,
        "moves": [{"kind": move.kind, "server": move.server, "name": move.name, "old": move.old, "new": move.new} for move in drift.moves],
    }


def render_drift(drift: Drift) -> list[Piece]:
    """The report: the verdict, then what moved, by kind."""
    if drift.old is drift.new:
        words = f"{drift.new.words}, as before" + (", but no longer all that was asked" if drift.is_worse else "")
    else:
        words = f"{drift.old.words} -> {drift.new.words}"
    style = "bold red" if drift.is_worse else "bold green"
    pieces: list[Piece] = [Text().append(words, style)]
    if not drift.moves:
        return [*pieces, Text("nothing moved")]
    return [*pieces, *(Text(_line(move)) for move in drift.moves if move.name != "verdict")]


def _line(move: Move) -> str:
    name = f"{move.server} {move.name}".strip() or "command"
    return f"  {move.kind}: {name}: {_value(move, move.old)} -> {_value(move, move.new)}"


def _value(move: Move, value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return gib(int(value)) if move.kind is Moved.BYTES else f"{value:,}"
    return shown(str(value) or "set", _MOST_LETTERS)
