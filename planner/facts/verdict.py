"""The closed lists of words that types, reports, JSON and schemas share: each stands here once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["starts", "tight", "does_not_start", "unknown"]
"""starts: also with conservative overheads; tight: with the expected ones; unknown: the ledger does not hold a part that decides."""

WORST_FIRST: tuple[Verdict, ...] = ("does_not_start", "unknown", "tight", "starts")


def worst(verdicts: Collection[Verdict]) -> Verdict:
    """The verdict of all together."""
    return next(verdict for verdict in WORST_FIRST if verdict in verdicts)


EXIT_CODES: dict[Verdict, int] = {"starts": 0, "tight": 0, "does_not_start": 1, "unknown": 4}

Grade = Literal["measured here", "measured class", "new model", "new GPU", "extrapolated"]
"""How near a speed estimate is to what was measured."""

BoundBy = Literal["weights", "arithmetic", "KV cache", "all-reduces", "starts"]
"""What a step takes longest for."""

SCHEMAS = (
    "gpus", "models", "prices", "stack",  # files that a person writes
    "plan", "check", "explain", "capacity", "compare", "front", "bench", "list", "sweep", "verify", "config", "chosen-models", "chosen-machines",
)  # fmt: skip
"""What `plan schema` prints: the files that it reads, and the answers of its commands as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn:
    """Something the user should know; `code` is stable."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why it does not start, in vLLM's own terms, and by how much."""

    code: str
    reason: str
    short_by_bytes: int
