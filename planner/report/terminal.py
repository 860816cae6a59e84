"""The terminal report: verdict, ledger as a bar, settings with their reasons, warnings, the command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.check import Checked
from planner.estimate import NoSpeed, SpeedEstimate, estimate
from planner.placement import Placed, Stack, stack_warnings
from planner.plan import Alternative, Plan
from planner.report.words import LEFT, VERDICT_WORDS, capacity_line, ledger_rows, parts, speed_lines
from planner.units import GIB, gib, tokens

_COLOURS = {
    "weights": "blue",
    "buffers": "cyan",
    "activation": "yellow",
    "outside torch": "magenta",
    "CUDA graphs": "green",
    "KV cache": "bright_green",
    LEFT: "dim",
}
VERDICT = {name: (VERDICT_WORDS[name], style) for name, style in (("starts", "bold green"), ("tight", "bold yellow"), ("does_not_start", "bold red"))}
BAR_WIDTH = 60


def _headline(plan: Plan) -> Text:
    word, style = VERDICT[plan.verdict]
    group = plan.request.group
    text = Text()
    text.append(f"{plan.repo}", "bold").append(f" on {group.label} with vLLM {plan.config.vllm_version}: ").append(word, style)
    return text


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


def _speed(found: SpeedEstimate | NoSpeed) -> Iterator[Text]:
    for line, style in zip(speed_lines(found), ("", "dim"), strict=False):
        yield Text(line, style)


def _settings(plan: Plan) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    for name, reason in plan.choice.reasons:
        table.add_row(name, str(getattr(plan.config, name)), reason)
    return table


def _problems(stack: Stack) -> Iterator[RenderableType]:
    """Each server that does not start, in its own words; then what would do."""
    for server in stack.servers:
        if rejection := server.plan.rejection:
            about = f"{server.name} ({server.plan.repo}): " if len(stack.servers) > 1 else ""
            yield Text(f"Why: {about}{rejection.reason}; short by {gib(rejection.short_by_bytes)}.", "red")
    yield from _changes(stack.alternatives)
    if not stack.alternatives:
        yield Text("No small change was found that meets the wish.")


def _changes(alternatives: tuple[Alternative, ...]) -> Iterator[RenderableType]:
    if alternatives:
        yield Text("What would do (each planned):")
    for alternative in alternatives:
        yield Text(f"  {alternative.change}: ").append(alternative.arguments, "bold")


def render(stack: Stack) -> RenderableType:
    """The whole report as one renderable: the main server, then all of them where there are several."""
    plan = stack.main
    pieces: list[RenderableType] = [
        _headline(plan),
        Text(capacity_line(plan)),
        *_speed(estimate(plan)),
        Text(),
        _bar(plan),
        _ledger(plan),
        Text(),
        _settings(plan),
    ]
    if len(stack.servers) > 1:
        pieces += [Text(), _servers(stack)]
    if not stack.meets_wish:
        pieces += [Text(), *_problems(stack)]
    if warnings := stack_warnings(stack):
        pieces += [Text(), *(Text(f"! {warning.message}", "yellow") for warning in warnings)]
    if stack.verdict != "does_not_start":
        pieces += [Text(), *(_command(server, stack) for server in stack.servers)]
    return Group(*pieces)


def _command(server: Placed, stack: Stack) -> Text:
    shown = f"CUDA_VISIBLE_DEVICES={','.join(map(str, server.gpus))} " if len(server.gpus) < stack.group.count and stack.group.gpu.vendor == "nvidia" else ""
    return Text(shown + shlex.join(server.plan.argv), "bold", no_wrap=True, overflow="ignore")


def _servers(stack: Stack) -> Table:
    """All servers in the order in which they start, and what they hold of each GPU."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("starts", "server", "GPUs", "utilization", "context", "holds GiB a GPU", "verdict"):
        table.add_column(column, justify="left" if column in ("server", "verdict") else "right", no_wrap=True)
    for number, server in enumerate(stack.servers, 1):
        config = server.plan.config
        word, style = VERDICT[server.plan.verdict]
        gpus, held = ",".join(map(str, server.gpus)), f"{server.held_bytes / GIB:.2f}"
        table.add_row(str(number), server.name, gpus, f"{config.gpu_memory_utilization:g}", tokens(config.max_model_len), held, Text(word, style))
    fullest = max(range(stack.group.count), key=stack.held_bytes)
    table.add_row("", "together", str(fullest), "", "", f"{stack.held_bytes(fullest) / GIB:.2f}", f"of {gib(stack.group.total_bytes)}, contexts included")
    return table


def render_check(checked: Checked) -> RenderableType:
    """The report about somebody's command."""
    plan = checked.plan
    word, style = VERDICT[checked.verdict]
    group, config = checked.request.group, checked.config
    heading = Text().append(checked.repo, "bold").append(f" on {group.label} with vLLM {config.vllm_version}: ").append(word, style)
    pieces: list[RenderableType] = [heading]
    for problem in checked.problems:
        pieces += [Text(f"x {problem.code}: {problem.message}", "red"), Text("  fix: ").append(problem.fix, "bold")]
    if plan:
        pieces += [Text(capacity_line(plan)), Text(), _bar(plan), _ledger(plan), Text(), _settings(plan)]
        if plan.alternatives:
            pieces += [Text(), *_changes(plan.alternatives)]
        if plan.warnings:
            pieces += [Text(), *(Text(f"! {warning.message}", "yellow") for warning in plan.warnings)]
    return Group(*pieces)


def show(stack: Stack, console: Console) -> None:
    """Print the report to a console; plain where it is not a terminal."""
    console.print(render(stack), soft_wrap=False, crop=False)
