"""A speed in the JSON contract (docs/json.md): figures, or null and the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from typing_extensions import TypedDict

from planner.facts.speed import NoSpeed, Range, SpeedEstimate
from planner.facts.verdict import BoundBy, Grade


class RangeJson(TypedDict):
    """A figure at three outlooks; 80 % of measured ones lie between the ends."""

    cautious: float
    expected: float
    hopeful: float


class EndsJson(TypedDict):
    """A figure and its interval; 80 % of measured ones lie in it."""

    low: float
    expected: float
    high: float


class SpeedJson(TypedDict):
    """What `concurrency` requests at once see (seconds to the first token and per further one) and get together; two significant digits (docs/speed.md).

    Where only the GPU's memory bandwidth is known, `output_tokens_per_s` and `ttft_s` are null; `because` says so. `answer_tokens`, `users`,
    `tokens_per_s` (of one user alone), `total_tokens_per_s` and `time_to_first_token_s` (alone) are version 1's and go with version 3.
    """

    grade: Grade
    because: str
    prompt_tokens: int
    output_tokens: int
    concurrency: int
    tpot_s: EndsJson
    ttft_s: EndsJson | None
    output_tokens_per_s: EndsJson | None
    answer_tokens: int
    users: int
    tokens_per_s: RangeJson
    total_tokens_per_s: RangeJson | None
    time_to_first_token_s: RangeJson | None
    bound_by: BoundBy


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


def speed_reason(found: SpeedEstimate | NoSpeed) -> str | None:
    """Why no speed is said; null where one is."""
    return found.reason if isinstance(found, NoSpeed) else None


def blank_notes(speeds: Iterable[tuple[str, SpeedEstimate | NoSpeed]]) -> Iterator[str]:
    """Why rows of a table (their names, their speeds) have no tokens/s: a line for each reason."""
    named, reasons = list(speeds), dict[str, list[str]]()
    for row, found in named:
        if isinstance(found, NoSpeed):
            reasons.setdefault(found.reason, []).append(row)
    for reason, rows in reasons.items():
        about = "" if len(rows) == len(named) else f" for {', '.join(rows)}"
        yield f"No tokens/s{about}: {reason}."
