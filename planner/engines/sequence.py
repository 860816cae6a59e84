"""Several servers on one machine, one after the other: the small ones first, and the main one has what they leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from planner.engines import Placement
from planner.facts.hardware import GpuGroup
from planner.facts.plan import Plan
from planner.facts.question import ServiceRow


def one_after_another(
    rows: Sequence[ServiceRow], group: GpuGroup, plan_one: Callable[[ServiceRow, GpuGroup, bool], Plan], *, beside_bytes: int = 0
) -> Placement:
    """Plan each row, the first of which is the main one, on what those before it leave.

    `plan_one` is told whether it is the main one; `beside_bytes` is what each process takes of a GPU beside its plan.
    """
    main, *others = rows
    plans: list[Plan] = []
    for row in (*others, main):
        taken = len(plans) * beside_bytes + sum(plan.held_bytes for plan in plans)
        plans.append(plan_one(row, replace(group, taken_bytes=taken), row is main))
    warnings = dict.fromkeys(warning for plan in reversed(plans) for warning in plan.warnings)
    return Placement(plans=tuple(plans), alternatives=tuple(change for plan in plans for change in plan.alternatives), warnings=tuple(warnings))
