"""An answer as the page and the HTML report show it: words, rows and pictures, nothing left to compute."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.engines import ENGINES, Unanswered
from planner.facts.alternatives import Alternative
from planner.facts.curve import Curve
from planner.facts.deployment import Service
from planner.facts.plan import Plan
from planner.facts.record import dataclass
from planner.facts.verdict import Verdict
from planner.report.lead import Figure, Headline, answer_headline, figures, headline, outcome, refusals
from planner.report.markup import Block
from planner.report.svg import curve, ledger_bar, short, slug
from planner.report.words import ledger_rows, speed_lines
from planner.units import GIB, tokens

if TYPE_CHECKING:
    from planner.questions.plan import Answer


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


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps a server from starting, and what mends it."""

    text: str
    fix: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that is shown."""

    title: str
    headline: str = ""
    tone: str = ""
    figures: tuple[Figure, ...] = ()
    lines: tuple[str, ...] = ()
    bar: str = ""
    ledger: tuple[Row, ...] = ()
    settings: tuple[Row, ...] = ()
    pictures: tuple[Picture, ...] = ()
    servers: tuple[tuple[str, ...], ...] = ()
    problems: tuple[Trouble, ...] = ()
    changes: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    """What else the report says, in its order."""


def _picture(drawn: Curve) -> Picture:
    rows = tuple((short(x), f"{low:.3g}", f"{middle:.3g}", f"{high:.3g}") for x, low, middle, high in drawn.points)
    return Picture(drawn.title, curve(drawn), (drawn.x_label, "conservative", "expected", "optimistic"), rows)


def _commands(services: Iterable[Service]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (service.name, " ".join([*(f"{key}={shlex.quote(value)}" for key, value in service.env.items()), shlex.join(service.argv)])) for service in services
    )


def view_of(answer: Answer, files: Iterable[str] = ()) -> View:
    """An answer; figures and pictures are of the main server."""
    plan = answer.main
    said = answer_headline(answer)
    servers: tuple[tuple[str, ...], ...] = ()
    if len(answer.plans) > 1:
        servers = tuple(
            (server.service.name, server.model.id, ", ".join(map(str, server.gpus)), f"{dict(server.settings).get('gpu_memory_utilization', '')}", tokens(server.context),
             f"{server.held_bytes / GIB:.2f}", headline([outcome(server)]).words)
            for server in answer.plans
        )  # fmt: skip
    return replace(
        _of_plan(plan, said),
        figures=figures(plan) if answer.starts else (),
        lines=tuple(line for line in (plan.binds, *speed_lines(plan.speed)) if line) if answer.starts else (),
        servers=servers,
        problems=tuple(map(Trouble, refusals(answer.plans))),
        changes=_changes(answer.alternatives),
        warnings=tuple(dict.fromkeys(warning.message for warning in answer.warnings)),
        commands=_commands(answer.deployment.processes) if answer.starts else (),
        files=tuple(files) if answer.starts else (),
    )


def check_view(plan: Plan) -> View:
    """Somebody's command, judged."""
    view = _of_plan(plan, headline([outcome(plan)]))
    unknown = plan.verdict is Verdict.UNKNOWN
    said = [part.message for part in plan.not_covered if unknown]
    said += [warning.message for warning in plan.warnings if not unknown or warning.code != "not-covered"]
    return replace(
        view,
        figures=figures(plan),
        lines=tuple(line for line in (plan.binds, *speed_lines(plan.speed)) if line) if plan.starts else (),
        problems=tuple(Trouble(problem.message, problem.fix, problem.code) for problem in plan.problems),
        changes=_changes(plan.alternatives),
        warnings=tuple(dict.fromkeys(said)),
    )


def _of_plan(plan: Plan, said: Headline) -> View:
    """What is shown of one server, whoever wrote its command; a command that is refused for its words has no ledger."""
    curves = ENGINES[plan.engine].curves(plan) if plan.lines else ()
    return View(
        title=f"{plan.model.id} {plan.where}",
        tone=said.tone,
        headline=said.words,
        bar=ledger_bar([(line.name, line.bytes) for line in plan.lines if line.bytes > 0], plan.room_bytes) if plan.lines else "",
        ledger=tuple(Row(row.name, f"{row.bytes / GIB:.2f}", row.note, slug(row.name)) for row in ledger_rows(plan)) if plan.lines else (),
        settings=tuple(Row(*row) for row in plan.shown_settings) if plan.lines else (),
        pictures=() if isinstance(curves, Unanswered) else tuple(map(_picture, curves)),
    )


def _changes(alternatives: Iterable[Alternative]) -> tuple[tuple[str, str], ...]:
    return tuple((change.change, change.command or change.arguments) for change in alternatives)
