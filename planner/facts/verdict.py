"""The closed lists of words that types, reports, JSON and schemas share: each stands here once."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from planner.arrays import Whole, where
from planner.facts.record import dataclass


class Verdict(StrEnum):
    """Whether a server starts, from the worst to the best; `unknown` where the ledger does not hold a part that decides.

    conservative overheads fit: `starts`; expected ones: `tight`; only optimistic ones: `unlikely`; not even those: `does_not_start`. Verdicts
    compare by this order, so that `min` of several is that of all together. A part that is not known may end anywhere below `starts`, so it
    stands between what is not expected to start and what is.
    """

    DOES_NOT_START = "does_not_start"
    UNLIKELY = "unlikely"
    UNKNOWN = "unknown"
    TIGHT = "tight"
    STARTS = "starts"

    @property
    def rank(self) -> int:
        """Its place in the order, 0 for the worst; the codes of a grid."""
        return _RANKS[self]

    def __lt__(self, other: str) -> bool:
        return self.rank < Verdict(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Verdict(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Verdict(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Verdict(other).rank

    @property
    def falls_short(self) -> bool:
        """Whether it is not expected to start: requirements are not met, nothing is written, what would do is looked for."""
        return self <= Verdict.UNLIKELY

    @property
    def exit_code(self) -> int:
        """What a command that answers so ends with."""
        return 4 if self is Verdict.UNKNOWN else int(self.falls_short)

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS[self]


_RANKS = {verdict: number for number, verdict in enumerate(Verdict)}
_WORDS = {
    Verdict.DOES_NOT_START: "does not start",
    Verdict.UNLIKELY: "unlikely to start",
    Verdict.UNKNOWN: "cannot be said",
    Verdict.TIGHT: "tight: may fail",
    Verdict.STARTS: "starts",
}
_BY_FIRST = (Verdict.STARTS, Verdict.TIGHT, Verdict.UNLIKELY)
ONLY_AT_LOWEST = "it starts only if overheads are at their lowest"


def rank_of(conservative: Whole, expected: Whole, optimistic: Whole) -> Whole:
    """The one rule: the rank of the verdict by whether each outlook fits, or an array of them."""
    unlikely = where(optimistic, Verdict.UNLIKELY.rank, Verdict.DOES_NOT_START.rank)
    return where(conservative, Verdict.STARTS.rank, where(expected, Verdict.TIGHT.rank, unlikely))


def verdict_of(fits: Iterable[object]) -> Verdict:
    """The same of one server, by whether the conservative, the expected and the optimistic outlook fit: what comes after one that fits is not asked."""
    return next((verdict for fit, verdict in zip(fits, _BY_FIRST, strict=False) if fit), Verdict.DOES_NOT_START)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of servers that start together."""
    return min(verdicts)


class Grade(StrEnum):
    """How near a speed estimate is to what was measured."""

    MEASURED_HERE = "measured here"
    MEASURED_CLASS = "measured class"
    NEW_MODEL = "new model"
    NEW_GPU = "new GPU"
    EXTRAPOLATED = "extrapolated"


class BoundBy(StrEnum):
    """What a step takes longest for; `launches` is what kernels cost before they do anything."""

    WEIGHTS = "weights"
    COMPUTE = "compute"
    KV_CACHE = "kv_cache"
    COMMUNICATION = "communication"
    LAUNCHES = "launches"

    @property
    def words(self) -> str:
        """As a sentence says it."""
        return {BoundBy.KV_CACHE: "the KV cache", BoundBy.COMMUNICATION: "communication between GPUs", BoundBy.LAUNCHES: "kernel launches"}.get(self, self)


SCHEMAS = (
    "gpus", "models", "prices", "stack",  # files that a person writes
    "plan", "check", "explain", "start", "capacity", "compare", "cost", "diff", "front", "bench", "list", "sweep", "verify", "config", "chosen-models", "chosen-machines",
)  # fmt: skip
"""What `plan schema` prints: the files that it reads, and the answers of its commands as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn:
    """Something the user should know; `code` is stable."""

    code: str
    message: str
    main_only: bool = False  # not repeated for the smaller servers beside the main one


def typed_config(name: str) -> Warn:
    """That an answer rests on a config which was typed from public facts and confirmed by nothing."""
    fetched = "plan models add OWNER/NAME takes its own"
    return Warn(code="typed-config", message=f"the config of {name} was typed from public facts, and nothing published confirms its sizes: {fetched}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why it does not start, in vLLM's own terms, and by how much."""

    code: str
    reason: str
    short_by_bytes: int
