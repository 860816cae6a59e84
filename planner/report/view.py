"""An answer as the page and the HTML report show it: words, rows and pictures, nothing left to compute."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field

from planner.engines.vllm.pace import estimate
from planner.facts.deployment import Deployment
from planner.facts.local_plan import LocalPlan
from planner.facts.verdict import Verdict, worst
from planner.questions.placement import Stack, stack_warnings
from planner.report.curves import Curve, concurrency_curve, speed_curves
from planner.report.lead import (
    Figure,
    binds,
    figures,
    headline,
    local_binds,
    local_figures,
    local_headline,
    outcome,
    refusals,
    stack_headline,
    stack_refusals,
)
from planner.report.svg import curve, ledger_bar, short, slug
from planner.report.words import ledger_rows, parts, settings_rows, speed_lines
from planner.units import GIB, gib, tokens


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table; `key` names its colour."""

    name: str
    value: str
    note: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG picture, and its numbers as a table."""

    title: str
    svg: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that is shown."""

    title: str
    verdict: Verdict
    tone: str
    headline: str
    figures: tuple[Figure, ...] = ()
    lines: tuple[str, ...]
    bar: str
    ledger: tuple[Row, ...]
    settings: tuple[Row, ...]
    pictures: tuple[Picture, ...] = ()
    servers: tuple[tuple[str, ...], ...] = ()
    problems: tuple[str, ...] = ()
    changes: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = field(default=())


def _picture(kind: str, drawn: Curve) -> Picture:
    rows = tuple((short(x), f"{low:.3g}", f"{middle:.3g}", f"{high:.3g}") for x, low, middle, high in drawn.points)
    return Picture(drawn.title, curve(kind, drawn), (drawn.x_label, "conservative", "expected", "optimistic"), rows)


def _commands(services: Iterable[object]) -> tuple[tuple[str, str], ...]:
    found = []
    for service in services:
        env, argv, name = service.env, service.argv, service.name  # type: ignore[attr-defined]
        found.append((name, " ".join([*(f"{key}={shlex.quote(value)}" for key, value in env.items()), shlex.join(argv)])))
    return tuple(found)


def stack_view(stack: Stack, deployment: Deployment, files: Iterable[str]) -> View:
    """Placed vLLM servers; pictures are of the main one."""
    plan = stack.main
    drawn = [("concurrency", concurrency_curve(plan))] if plan.verdict != "does_not_start" else []
    drawn += list(zip(("speed-each", "speed-all"), speed_curves(plan) or (), strict=False))
    servers: tuple[tuple[str, ...], ...] = ()
    if len(stack.servers) > 1:
        servers = tuple(
            (one.name, one.plan.repo, ", ".join(map(str, one.gpus)), f"{one.plan.config.gpu_memory_utilization:g}", tokens(one.plan.config.max_model_len),
             f"{one.held_bytes / GIB:.2f}", headline([outcome(one.plan)]).words)
            for one in stack.servers
        )  # fmt: skip
    said = stack_headline(stack)
    starts = stack.verdict != "does_not_start"
    return View(
        title=f"{plan.repo} on {stack.group.label} with vLLM {plan.config.vllm_version}",
        verdict=stack.verdict,
        tone=said.tone,
        headline=said.words,
        figures=figures(plan) if starts else (),
        lines=tuple(line for line in (binds(plan), *speed_lines(estimate(plan))) if line) if starts else (),
        bar=ledger_bar([(name, size) for name, size in parts(plan) if size > 0], plan.choice.expected.total_bytes),
        ledger=tuple(Row(name, f"{size / GIB:.2f}", note, slug(name)) for name, size, note in ledger_rows(plan)),
        settings=tuple(Row(*row) for row in settings_rows(plan)),
        pictures=tuple(_picture(kind, found) for kind, found in drawn if found is not None),
        servers=servers,
        problems=stack_refusals(stack),
        changes=tuple((one.change, one.command or one.arguments) for one in stack.alternatives),
        warnings=tuple(warning.message for warning in stack_warnings(stack)),
        commands=_commands(deployment.processes) if starts else (),
        files=tuple(files) if starts else (),
    )


def local_view(plans: tuple[LocalPlan, ...], deployment: Deployment, files: Iterable[str]) -> View:
    """Servers of another runtime; the last plan is the main one."""
    plan = plans[-1]
    starts = all(one.verdict != "does_not_start" for one in plans)
    said = local_headline(plans)
    return View(
        title=f"{plan.model} ({plan.quantization}) on {plan.group.label} with {plan.engine} {plan.version}",
        verdict=worst([one.verdict for one in plans]),
        tone=said.tone,
        headline=said.words,
        figures=local_figures(plan) if starts else (),
        lines=tuple(line for line in (local_binds(plan), *speed_lines(plan.speed)) if line) if starts else (),
        bar=ledger_bar([(part.name, part.bytes) for part in plan.parts], plan.available_bytes),
        ledger=(
            *(Row(part.name, f"{part.bytes / GIB:.2f}", part.note, slug(part.name)) for part in plan.parts),
            Row("needed" if plan.rejection else "together", f"{plan.used_bytes / GIB:.2f}", f"of {gib(plan.available_bytes)} that may be used"),
            *((Row("short by", f"{plan.rejection.short_by_bytes / GIB:.2f}"),) if plan.rejection else ()),
        ),
        settings=tuple(Row(name, str(dict(plan.settings).get(name, "")), reason) for name, reason in plan.reasons),
        problems=refusals([(one.service.name, one.rejection) for one in plans]),
        changes=tuple((one.change, one.command or one.arguments) for one in plan.alternatives),
        warnings=tuple(dict.fromkeys(warning.message for one in reversed(plans) for warning in one.warnings)),
        commands=_commands(deployment.processes) if starts else (),
        files=tuple(files) if starts else (),
    )
