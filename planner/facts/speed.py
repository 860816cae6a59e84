"""How fast a plan is, as figures at three outlooks, or why that is not said."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log10

from planner.facts.verdict import BoundBy, Grade, Verdict


@dataclass(frozen=True, slots=True)
class Range:
    """A figure at three outlooks, two significant digits each."""

    conservative: float
    expected: float
    optimistic: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedEstimate:
    """What one user sees alone, and what `users` get together, each with a prompt and an answer of so many tokens.

    Where only the GPU's bandwidth is known, nothing is said of prompts: no time to first token, nor what several get together.
    """

    grade: Grade
    because: str
    prompt_tokens: int
    answer_tokens: int
    users: int
    tokens_per_s: Range
    total_tokens_per_s: Range | None
    time_to_first_token_s: Range | None
    bound_by: BoundBy


@dataclass(frozen=True, slots=True)
class NoSpeed:
    """Why nothing is said of the speed of a plan, in words that follow a colon."""

    reason: str


NOT_ASKED = NoSpeed("it was not asked")


def no_start(verdict: Verdict) -> NoSpeed:
    """Of a server that is not expected to start."""
    return NoSpeed(f"the server {verdict.words}" if verdict is Verdict.DOES_NOT_START else f"the server is {verdict.words}")


def expected_tokens_per_s(speed: SpeedEstimate | NoSpeed) -> float | None:
    """Tokens a second of one user alone; None where nothing is said."""
    return speed.tokens_per_s.expected if isinstance(speed, SpeedEstimate) else None


def significant(value: float) -> float:
    """A number rounded to two significant digits."""
    return round(value, 1 - floor(log10(abs(value)))) if value else 0.0
