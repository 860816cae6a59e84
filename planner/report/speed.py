"""A speed in the JSON contract (docs/json.md): figures, or null and the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from planner.facts.speed import NoSpeed, Range, SpeedEstimate

if TYPE_CHECKING:
    from planner.report.contract_parts import EndsJson, RangeJson, SpeedJson


def _range(figure: Range) -> RangeJson:
    return {"cautious": figure.conservative, "expected": figure.expected, "hopeful": figure.optimistic}


def _ends(figure: Range) -> EndsJson:
    low, high = sorted((figure.conservative, figure.optimistic))
    return {"low": low, "expected": figure.expected, "high": high}


def speed_json(speed: SpeedEstimate | NoSpeed) -> SpeedJson | None:
    """A plan's speed; null where none is said."""
    if isinstance(speed, NoSpeed):
        return None
    return {
        "grade": speed.grade,
        "because": speed.because,
        "prompt_tokens": speed.prompt_tokens,
        "output_tokens": speed.answer_tokens,
        "concurrency": speed.users,
        "tpot_s": _ends(speed.tpot_s),
        "ttft_s": _ends(speed.ttft_s) if speed.ttft_s else None,
        "output_tokens_per_s": _ends(speed.total_tokens_per_s) if speed.total_tokens_per_s else None,
        "answer_tokens": speed.answer_tokens,
        "users": speed.users,
        "tokens_per_s": _range(speed.tokens_per_s),
        "total_tokens_per_s": _range(speed.total_tokens_per_s) if speed.total_tokens_per_s else None,
        "time_to_first_token_s": _range(speed.time_to_first_token_s) if speed.time_to_first_token_s else None,
        "bound_by": speed.bound_by,
    }


def speed_reason(speed: SpeedEstimate | NoSpeed) -> str | None:
    """Why no speed is said; null where one is."""
    return speed.reason if isinstance(speed, NoSpeed) else None


def blank_notes(speeds: Iterable[tuple[str, SpeedEstimate | NoSpeed]]) -> Iterator[str]:
    """Why rows of a table (their names, their speeds) have no tokens/s: a line for each reason."""
    named, reasons = list(speeds), dict[str, list[str]]()
    for row, speed in named:
        if isinstance(speed, NoSpeed):
            reasons.setdefault(speed.reason, []).append(row)
    for reason, rows in reasons.items():
        about = "" if len(rows) == len(named) else f" for {', '.join(rows)}"
        yield f"No tokens/s{about}: {reason}."
