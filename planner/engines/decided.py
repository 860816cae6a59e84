"""The verdict of a checked command: what its ledger says, what is wrong with its words, what the ledger does not hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from planner.errors import PlannerError
from planner.facts.alternatives import Alternative
from planner.facts.command import Command
from planner.facts.not_covered import NotCovered
from planner.facts.plan import Plan, Problem
from planner.facts.settings import Setting
from planner.facts.verdict import Verdict, Warn


def decided(
    plan: Plan,
    command: Command,
    *,
    missing: Sequence[NotCovered],
    warnings: Sequence[Warn],
    fix: str,
    alternatives: Sequence[Alternative] = (),
    env: Mapping[str, str] | None = None,
) -> Plan:
    """The plan of a read command's server with its verdict.

    A fault does not start, whatever else is not known; nor does what is too large (unlikely where only the lowest overheads fit), unless something that may take less is not in the ledger; what
    fits and asks for something that may take more is unknown.
    """
    problems = list(command.faults)
    told = [*warnings, *(Warn(code="not-covered", message=part.message) for part in missing)]
    verdict = plan.verdict
    if plan.rejection is not None and any(part.effect != "adds" for part in missing):
        told.insert(0, Warn(code=plan.rejection.code, message=f"as far as the ledger goes: {plan.rejection.reason}"))
        verdict = Verdict.UNKNOWN
    elif plan.rejection is not None:
        problems.append(Problem(code=plan.rejection.code, message=plan.rejection.reason, fix=alternatives[0].arguments if alternatives else fix))
    elif any(part.effect != "lowers" for part in missing):
        verdict = Verdict.UNKNOWN
    return replace(
        plan,
        verdict=Verdict.DOES_NOT_START if command.faults else verdict,
        service=replace(plan.service, argv=command.argv, env=dict(env or {})),
        alternatives=tuple(alternatives) if plan.rejection is not None else (),
        warnings=tuple(told),
        problems=tuple(problems),
        not_covered=tuple(missing),
    )


def plan_beyond(plan: Plan, missing: Sequence[NotCovered]) -> Plan:
    """A plan that asks for something its ledger does not hold: unknown, unless it is too large already and what is missing only adds."""
    wrong = "adds" if plan.rejection is not None else "lowers"
    if all(part.effect == wrong for part in missing):
        return replace(plan, not_covered=tuple(missing))
    return replace(plan, verdict=Verdict.UNKNOWN, rejection=None, not_covered=tuple(missing), requirements_met=False)


def refuse_unresolved(command: Command, table: Sequence[Setting], values: Mapping[str, object]) -> None:
    """What only the shell knows is never run or guessed. Raises PlannerError where the model or a setting is such."""
    said = [("the model", command.model), *((setting.flag, values.get(setting.flag, "")) for setting in table)]
    for name, value in said:
        for part in command.unresolved:
            if part and part in str(value):
                raise PlannerError(f"{name} is {part}, which only the shell that runs it knows", "put its value into the command")


def sources(names: Mapping[str, str], said: Collection[str], title: str, chosen: Collection[str] = ()) -> tuple[tuple[str, str], ...]:
    """Where each setting of an answer comes from: the command, the engine's default, or (`chosen`) what it sets by itself.

    `names` are those of the answer, each with that of the engine's table.
    """
    return tuple((name, f"{title}'s choice" if name in chosen else "from the command" if own in said else f"{title}'s default") for name, own in names.items())
