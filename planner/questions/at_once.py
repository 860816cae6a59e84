"""How many requests a server takes at once: one definition for what tokens cost and for whom a machine holds.

Those that surely run together, none of which waits: the engine surely starts with everything on the GPUs and has a place for each (of an engine that fixes
its slots at the start, a slot; of one that shares its KV cache, room in it by the conservative ledger).
"""

from __future__ import annotations

from collections.abc import Callable

from planner.facts.plan import Plan
from planner.facts.speed import NoSpeed
from planner.facts.verdict import Verdict
from planner.units import largest

MOST_SLOTS = 256
"""Of an engine that fixes them: nobody starts more."""
MOST_AT_ONCE = 4096


def holds_at_once(plan: Plan, count: int) -> bool:
    """Whether a plan that was asked for so many at once (`users` and `concurrency`, where its slots are fixed) has a place for each."""
    if plan.verdict is not Verdict.STARTS or not plan.is_whole:
        return False
    if plan.concurrency is None:
        return plan.users >= count
    return not isinstance(plan.speed, NoSpeed) and plan.speed.at_once >= count


def most_at_once(planned: Callable[[int], Plan]) -> int:
    """The most that are held at once; 0 where not one is."""
    most = MOST_SLOTS if planned(1).concurrency is None else MOST_AT_ONCE
    return largest(most, lambda count: holds_at_once(planned(count), count))
