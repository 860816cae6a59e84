"""The terminal report: verdict, ledger as a bar, settings with their reasons, warnings, the command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.engines.vllm.pace import estimate
from planner.engines.vllm.plan import Alternative, Plan
from planner.questions.placement import Placed, Stack, stack_warnings
from planner.report.lead import Figure, Headline, Outcome, binds, figures, headline, outcome, stack_headline, stack_refusals
from planner.report.table import Column, Fitted, Row, Typed
from planner.report.words import LEFT, ledger_rows, parts, settings_rows, speed_lines
from planner.units import GIB, gib, tokens

if TYPE_CHECKING:
    from planner.engines.vllm.check import Checked

_COLOURS = {
    "weights": "blue",
    "buffers": "cyan",
    "activation": "yellow",
    "outside torch": "magenta",
    "CUDA graphs": "green",
    "KV cache": "bright_green",
    LEFT: "dim",
}
TONES = {"good": "bold green", "warn": "bold yellow", "bad": "bold red"}
BAR_WIDTH = 60


def heading(subject: str, where: str, found: Headline) -> Text:
    """The first line: what is planned, on what, and the verdict."""
    return Text().append(subject, "bold").append(f" {where}: ").append(found.words, TONES[found.tone])


def _where(plan: Plan) -> str:
    return f"on {plan.request.group.label} with vLLM {plan.config.vllm_version}"


def large(found: Sequence[Figure]) -> Iterator[RenderableType]:
    """The figures a person asks for, large, with what they count beneath."""
    if not found:
        return
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 4, 0, 0))
    for _ in found:
        table.add_column()
    table.add_row(*(Text(figure.value, "bold") for figure in found))
    table.add_row(*(figure.label for figure in found))
    table.add_row(*(Text(figure.note, "dim") for figure in found))
    yield table
    yield Text()


def _bar(plan: Plan) -> Text:
    total = plan.choice.expected.total_bytes
    bar = Text()
    for name, size in parts(plan):
        if name == LEFT:
            break
        wanted = round(max(0, size) / total * BAR_WIDTH)  # may exceed the GPU many times over
        bar.append("█" * min(wanted, BAR_WIDTH - len(bar)), _COLOURS[name])
    return bar.append("░" * (BAR_WIDTH - len(bar)), "dim").append(f" {gib(total)} a GPU")


def _ledger(plan: Plan) -> Table:
    table = Table(box=None, show_header=True, pad_edge=False, header_style="dim")
    table.add_column("per GPU")
    table.add_column("GiB", justify="right")
    table.add_column("")
    for name, size, note in ledger_rows(plan):
        label = Text(f"■ {name}", _COLOURS[name]) if name in _COLOURS else Text(name)
        table.add_row(label, f"{size / GIB:.2f}", Text(note, "dim"))
    return table


def speed(lines: Iterable[str]) -> Iterator[Text]:
    """The line on speed, and fainter how sure it is."""
    for number, line in enumerate(lines):
        yield Text(line, "dim" if number else "")


def _settings(plan: Plan) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    for row in settings_rows(plan):
        table.add_row(*row)
    return table


def refused(reasons: Iterable[str], alternatives: Sequence[Alternative]) -> Iterator[RenderableType]:
    """Each server that does not start, in its own words; then what would do, nearest first."""
    yield from (Text(f"Why: {reason}.", "red") for reason in reasons)
    yield from changes(alternatives)
    if not alternatives:
        yield Text("No small change was found that meets the wish.")
    yield Text()


def changes(alternatives: Sequence[Alternative]) -> Iterator[RenderableType]:
    """What would do, nearest first, with the words to type."""
    if alternatives:
        yield Text("What would do (each planned, nearest first):")
    for alternative in alternatives:
        yield Text(f"  {alternative.change}:")
        yield Typed(alternative.command or alternative.arguments)


def warned(messages: Iterable[str]) -> Iterator[RenderableType]:
    """Warnings, with an empty line before them."""
    found = [Text(f"! {message}", "yellow") for message in messages]
    yield from [Text(), *found] if found else []


def render(stack: Stack, folder: str = "") -> RenderableType:
    """The whole report as one renderable: the answer of the main server, what binds, what to do next; then its ledger, all servers, the settings."""
    plan = stack.main
    starts = stack.verdict != "does_not_start"
    pieces: list[RenderableType] = [heading(plan.repo, _where(plan), stack_headline(stack)), Text()]
    if starts:
        pieces += [*large(figures(plan)), *([Text(line)] if (line := binds(plan)) else []), *speed(speed_lines(estimate(plan))), Text()]
    if not stack.meets_wish:
        pieces += refused(stack_refusals(stack), stack.alternatives)
    commands = [_command(server, stack) for server in stack.servers] if starts else []
    pieces += run_it(commands, folder)
    pieces += [_bar(plan), _ledger(plan), Text()]
    if len(stack.servers) > 1:
        pieces += [_servers(stack), Text()]
    pieces += [_settings(plan), *warned(warning.message for warning in stack_warnings(stack))]
    if folder and commands:
        pieces += [Text(), *commands]
    return Group(*pieces)


def run_it(commands: Sequence[Text], folder: str) -> Iterator[RenderableType]:
    """The next thing to do with a plan that starts: its files where they are written, else the commands themselves, in the order in which they start."""
    if not commands:
        return
    if folder:
        yield Text("Run it: ").append(f"cd {shlex.quote(folder)} && ./setup.sh && ./stack.sh start", "bold")
    else:
        yield from commands
    yield Text()


def _command(server: Placed, stack: Stack) -> Text:
    shown = f"CUDA_VISIBLE_DEVICES={','.join(map(str, server.gpus))} " if len(server.gpus) < stack.group.count and stack.group.gpu.vendor == "nvidia" else ""
    return Text(shown + shlex.join(server.plan.argv), "bold", no_wrap=True, overflow="ignore")


_SERVERS = (
    Column("#"),
    Column("server", is_left=True),
    Column("GPUs"),
    Column("utilization", 2),
    Column("context", 1),
    Column("GiB of each GPU", 1),
    Column("verdict", 3, is_left=True),
)


def _servers(stack: Stack) -> Fitted:
    """All servers in the order in which they start, and what they hold of each GPU."""
    rows = []
    for number, server in enumerate(stack.servers, 1):
        config, found = server.plan.config, headline([outcome(server.plan)])
        gpus, held = ",".join(map(str, server.gpus)), f"{server.held_bytes / GIB:.2f}"
        verdict = Text(found.words, TONES[found.tone])
        rows.append(Row((str(number), server.name, gpus, f"{config.gpu_memory_utilization:g}", tokens(config.max_model_len), held, verdict)))
    fullest = max(range(stack.group.count), key=stack.held_bytes)
    together = f"{stack.held_bytes(fullest) / GIB:.2f}"
    rows.append(Row(("", "together", str(fullest), "", "", together, f"of {gib(stack.group.total_bytes)}, contexts included")))
    return Fitted(_SERVERS, rows)


def render_check(checked: Checked) -> RenderableType:
    """The report about somebody's command."""
    plan = checked.plan
    where = f"on {checked.request.group.label} with vLLM {checked.config.vllm_version}"
    pieces: list[RenderableType] = [heading(checked.repo, where, headline([Outcome(verdict=checked.verdict)]))]
    if checked.verdict == "unknown":
        pieces += [Text(f"? {one.message}", "yellow") for one in checked.not_covered]
    for problem in checked.problems:
        pieces += [Text(f"x {problem.code}: {problem.message}", "red"), Text("  fix: ").append(problem.fix, "bold")]
    pieces.append(Text())
    if plan:
        if checked.verdict != "does_not_start":
            pieces += [*large(figures(plan)), *([Text(line), Text()] if (line := binds(plan)) else [])]
        if plan.alternatives:
            pieces += [*changes(plan.alternatives), Text()]
        pieces += [
            _bar(plan),
            _ledger(plan),
            Text(),
            _settings(plan),
            *warned(warning.message for warning in plan.warnings if checked.verdict != "unknown" or warning.code != "not-covered"),
        ]
    return Group(*pieces)


def show(stack: Stack, console: Console, folder: str = "") -> None:
    """Print the report to a console; plain where it is not a terminal."""
    console.print(render(stack, folder), soft_wrap=False, crop=False)
