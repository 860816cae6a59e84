"""What a log observed beside what was predicted, for engines whose ledger is what the process takes; a command with some of its words changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.facts.observed import Difference, Observed
from planner.facts.plan import Plan

CLOSE = 0.01  # a difference below one percent of the GPU needs no cause


def differences(observed: Observed, predicted: Plan | None, causes: Mapping[str, str]) -> tuple[Difference, ...]:
    """The terms of a ledger that a log tells, by their keys, and what a difference of each comes from."""
    if predicted is None:
        return ()
    told = []
    for line in predicted.lines:
        seen = getattr(observed, f"{line.key}_bytes", None)
        if isinstance(seen, int):
            is_close = abs(line.bytes - seen) <= CLOSE * predicted.room_bytes
            told.append(Difference(what=line.key, predicted=line.bytes, observed=seen, why="" if is_close else causes.get(line.key, "")))
    return tuple(told)


def changed(words: Sequence[str], change: Sequence[str]) -> list[str]:
    """A command's words with other values for some flags."""
    kept = list(words)
    for flag in (word for word in change if word.startswith("--")):
        while flag in kept:
            at = kept.index(flag)
            takes_value = at + 1 < len(kept) and not kept[at + 1].startswith("--")
            del kept[at : at + (2 if takes_value else 1)]
    return kept + list(change)
