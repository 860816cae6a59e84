"""The terminal report: verdict, ledger as a bar, settings with their reasons, warnings, the command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from planner.facts.alternatives import Alternative
from planner.facts.deployment import Service
from planner.facts.plan import Line, Plan
from planner.facts.verdict import Verdict
from planner.report.lead import Figure, Headline, answer_headline, figures, headline, outcome, refusals
from planner.report.table import Column, Fitted, Grid, Row, Typed
from planner.report.text import Piece, Text
from planner.report.words import ledger_rows, speed_lines
from planner.units import GIB, gib, tokens

if TYPE_CHECKING:
    from planner.questions.plan import Answer

_COLOURS = {
    "weights": "blue",
    "buffers": "cyan",
    "activation": "yellow",
    "compute": "yellow",
    "non_torch": "magenta",
    "mmproj": "magenta",
    "mmproj_compute": "cyan",
    "cuda_graph": "green",
    "kv_cache": "bright_green",
}
_UNUSED = "dim"
TONES = {"good": "bold green", "warn": "bold yellow", "bad": "bold red"}
BAR_WIDTH = 60
_TEXT = Column("", is_left=True)


def heading(subject: str, where: str, verdict: Headline) -> Text:
    """The first line: what is planned, on what, and the verdict."""
    return Text().append(subject, "bold").append(f" {where}: ").append(verdict.words, TONES[verdict.tone])


def large(shown: Sequence[Figure]) -> Iterator[Piece]:
    """The figures a person asks for, large, with what they count beneath."""
    if not shown:
        return
    rows = (
        [Text(figure.value, "bold") for figure in shown],
        [figure.label for figure in shown],
        [Text(figure.note, "dim") for figure in shown],
    )
    yield Grid([_TEXT] * len(shown), rows, gap=4)
    yield Text()


def _colour(line: Line, plan: Plan) -> str:
    """A term's colour; a cache that nobody uses is what is left."""
    return _UNUSED if line.key == "kv_cache" and not plan.model.keeps_cache else _COLOURS.get(line.key, "white")


def _bar(plan: Plan) -> Text:
    bar = Text()
    for line in plan.lines:
        wanted = round(max(0, line.bytes) / max(1, plan.room_bytes) * BAR_WIDTH)  # may exceed the GPU many times over
        if (colour := _colour(line, plan)) != _UNUSED:
            bar.append("█" * min(wanted, BAR_WIDTH - bar.width), colour)
    return bar.append("░" * (BAR_WIDTH - bar.width), "dim").append(f" {gib(plan.room_bytes)} {plan.room}")


def _ledger(plan: Plan) -> Grid:
    rows = []
    for row in ledger_rows(plan):
        label = Text(f"■ {row.name}", _colour(row, plan)) if isinstance(row, Line) else Text(row.name)
        rows.append((label, f"{row.bytes / GIB:.2f}", Text(row.note, "dim")))
    return Grid((Column("per GPU", is_left=True), Column("GiB"), _TEXT), rows)


def speed(lines: Iterable[str]) -> Iterator[Text]:
    """The line on speed, and fainter how sure it is."""
    for number, line in enumerate(lines):
        yield Text(line, "dim" if number else "")


def _settings(plan: Plan) -> Grid:
    return Grid((_TEXT, _TEXT, Column("", is_left=True, style="dim")), plan.shown_settings)


def refused(reasons: Iterable[str], alternatives: Sequence[Alternative]) -> Iterator[Piece]:
    """Each server that does not start, in its own words; then what would do, nearest first."""
    yield from (Text(f"Why: {reason}.", "red") for reason in reasons)
    yield from changes(alternatives)
    if not alternatives:
        yield Text("No small change was found that meets the wish.")
    yield Text()


def changes(alternatives: Sequence[Alternative]) -> Iterator[Piece]:
    """What would do, nearest first, with the words to type."""
    if alternatives:
        yield Text("What would do (each planned, nearest first):")
    for alternative in alternatives:
        yield Text(f"  {alternative.change}:")
        yield Typed(alternative.command or alternative.arguments)


def warned(messages: Iterable[str]) -> Iterator[Piece]:
    """Warnings, with an empty line before them."""
    lines = [Text(f"! {message}", "yellow") for message in messages]
    yield from [Text(), *lines] if lines else []


def render(answer: Answer, folder: str = "") -> list[Piece]:
    """The whole report: the answer of the main server, what binds, what to do next; then its ledger, all servers, the settings."""
    plan = answer.main
    pieces: list[Piece] = [heading(plan.model.id, plan.where, answer_headline(answer)), Text()]
    if answer.starts:
        pieces += [*large(figures(plan)), *([Text(plan.binds)] if plan.binds else []), *speed(speed_lines(plan.speed)), Text()]
    if not answer.requirements_met:
        pieces += refused(refusals(answer.plans), answer.alternatives)
    commands = [_command(service) for service in answer.deployment.processes] if answer.starts else []
    pieces += run_it(commands, folder)
    pieces += [_bar(plan), _ledger(plan), Text()]
    if len(answer.plans) > 1:
        pieces += [_servers(answer), Text()]
    pieces += [_settings(plan), *warned(warning.message for warning in answer.warnings)]
    if folder and commands:
        pieces += [Text(), *commands]
    return pieces


def run_it(commands: Sequence[Text], folder: str) -> Iterator[Piece]:
    """The next thing to do with a plan that starts: its files where they are written, else the commands themselves, in the order in which they start."""
    if not commands:
        return
    if folder:
        yield Text("Run it: ").append(f"cd {shlex.quote(folder)} && ./setup.sh && ./stack.sh start", "bold")
    else:
        yield from commands
    yield Text()


def _command(service: Service) -> Text:
    shown = " ".join([*(f"{name}={shlex.quote(value)}" for name, value in service.env.items()), shlex.join(service.argv)])
    return Text(shown, "bold", is_whole=True)


SHARE = "gpu_memory_utilization"
_SERVERS = (
    Column("#"),
    Column("server", is_left=True),
    Column("GPUs"),
    Column("utilization", 2),
    Column("context", 1),
    Column("GiB of each GPU", 1),
    Column("verdict", 3, is_left=True),
)


def _servers(answer: Answer) -> Fitted:
    """All servers in the order in which they start, and what they hold of each GPU."""
    rows: list[tuple[str | Text, ...]] = []
    for number, plan in enumerate(answer.plans, 1):
        verdict = headline([outcome(plan)])
        gpus, held = ",".join(map(str, plan.gpus)), f"{plan.held_bytes / GIB:.2f}"
        share = f"{dict(plan.settings).get(SHARE, 0):g}"
        rows.append((str(number), plan.service.name, gpus, share, tokens(plan.context), held, Text(verdict.words, TONES[verdict.tone])))
    by_gpu = {gpu: sum(plan.held_bytes for plan in answer.plans if gpu in plan.gpus) for plan in answer.plans for gpu in plan.gpus}
    fullest = max(by_gpu, key=lambda gpu: (by_gpu[gpu], -gpu))
    rows.append(("", "together", str(fullest), "", "", f"{by_gpu[fullest] / GIB:.2f}", f"of {gib(answer.main.room_bytes)}, contexts included"))
    shares = any(SHARE in dict(plan.settings) for plan in answer.plans)
    columns = [column for column in _SERVERS if shares or column.name != "utilization"]
    return Fitted(columns, [Row(tuple(cell for cell, column in zip(row, _SERVERS, strict=True) if column in columns)) for row in rows])


def render_check(plan: Plan) -> list[Piece]:
    """The report about somebody's command."""
    pieces: list[Piece] = [heading(plan.model.id, plan.where, headline([outcome(plan)]))]
    if plan.verdict is Verdict.UNKNOWN:
        pieces += [Text(f"? {part.message}", "yellow") for part in plan.not_covered]
    for problem in plan.problems:
        pieces += [Text(f"x {problem.code}: {problem.message}", "red"), Text("  fix: ").append(problem.fix, "bold")]
    pieces.append(Text())
    if plan.lines:
        if plan.starts:
            pieces += [*large(figures(plan)), *([Text(plan.binds), Text()] if plan.binds else [])]
        if plan.alternatives:
            pieces += [*changes(plan.alternatives), Text()]
        pieces += [_bar(plan), _ledger(plan), Text(), _settings(plan), *warned(_checked_warnings(plan))]
    return pieces


def _checked_warnings(plan: Plan) -> Iterator[str]:
    """Warnings that the lines above do not say already."""
    return (warning.message for warning in plan.warnings if plan.verdict is not Verdict.UNKNOWN or warning.code != "not-covered")
