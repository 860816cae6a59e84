"""The terminal report: verdict, ledger as a bar, settings with their reasons, warnings, the command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.check import Checked
from planner.plan import Plan
from planner.units import GIB, gib, tokens

LEFT = "left over"
_COLOURS = {
    "weights": "blue",
    "buffers": "cyan",
    "activation": "yellow",
    "outside torch": "magenta",
    "CUDA graphs": "green",
    "KV cache": "bright_green",
    LEFT: "dim",
}
_VERDICT = {"starts": ("starts", "bold green"), "tight": ("tight: may fail", "bold yellow"), "does_not_start": ("does not start", "bold red")}
BAR_WIDTH = 60


def parts(plan: Plan) -> list[tuple[str, int]]:
    """The ledger's terms in vLLM's order; they sum to what is requested."""
    ledger = plan.choice.expected
    return [
        ("weights", ledger.weights_bytes),
        ("buffers", ledger.buffers_bytes),
        ("outside torch", ledger.non_torch_bytes),
        ("activation", ledger.activation_bytes),
        ("CUDA graphs", ledger.cuda_graph_bytes),
        (LEFT if plan.model.is_encoder else "KV cache", ledger.kv_cache_bytes),
    ]


def _headline(plan: Plan) -> Text:
    word, style = _VERDICT[plan.verdict]
    group = plan.request.group
    text = Text()
    text.append(f"{plan.repo}", "bold").append(f" on {group.count}x {group.gpu.title} with vLLM {plan.config.vllm_version}: ").append(word, style)
    return text


def _capacity(plan: Plan) -> Text:
    ledger, config = plan.choice.expected, plan.config
    low, high = plan.choice.cautious.max_concurrency, plan.choice.hopeful.max_concurrency
    if plan.model.is_encoder:
        return Text(f"{tokens(config.max_model_len)} tokens of text; an encoder keeps no KV cache.")
    return Text(
        f"{tokens(config.max_model_len)} tokens of context; {ledger.max_concurrency:.2f} requests of that length at once "
        f"({low:.2f} to {high:.2f}); KV cache of {tokens(ledger.kv_cache_tokens)} tokens."
    )


def _bar(plan: Plan) -> Text:
    total = plan.choice.expected.total_bytes
    bar = Text()
    for name, size in parts(plan):
        if name == LEFT:
            break
        wanted = round(max(0, size) / total * BAR_WIDTH)  # may exceed the GPU many times over
        bar.append("█" * min(wanted, BAR_WIDTH - len(bar)), _COLOURS[name])
    return bar.append("░" * (BAR_WIDTH - len(bar)), "dim").append(f" {gib(total)} a GPU")


def _weights_note(plan: Plan) -> str:
    checkpoint = plan.model.checkpoint
    return "exact" if checkpoint is None or checkpoint.stored_bytes == checkpoint.derived_bytes else "from the checkpoint's tensors"


def _ledger(plan: Plan) -> Table:
    choice = plan.choice
    table = Table(box=None, show_header=True, pad_edge=False, header_style="dim")
    table.add_column("per GPU")
    table.add_column("GiB", justify="right")
    table.add_column("")
    notes = {
        "weights": _weights_note(plan),
        "buffers": "rotary tables, exact",
        "outside torch": "calibrated",
        "activation": "calibrated",
        "CUDA graphs": "calibrated",
        "KV cache": f"{choice.cautious.kv_cache_bytes / GIB:.2f} to {choice.hopeful.kv_cache_bytes / GIB:.2f}; {tokens(choice.expected.kv_cache_blocks)} blocks",
    }
    notes[LEFT] = "an encoder does not use it"
    if plan.config.kv_cache_memory_bytes is not None:
        notes["KV cache"] = "pinned"
    for name, size in parts(plan):
        table.add_row(Text(f"■ {name}", _COLOURS[name]), f"{size / GIB:.2f}", Text(notes[name], "dim"))
    table.add_row(
        "requested",
        f"{choice.expected.requested_bytes / GIB:.2f}",
        Text(f"{plan.config.gpu_memory_utilization:g} of {gib(choice.expected.total_bytes)}", "dim"),
    )
    if not plan.model.is_encoder:
        table.add_row("one request", f"{choice.expected.kv_cache_needed_bytes / GIB:.2f}", Text("KV cache it needs", "dim"))
    return table


def _settings(plan: Plan) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    for name, reason in plan.choice.reasons:
        table.add_row(name, str(getattr(plan.config, name)), reason)
    return table


def _problem(plan: Plan) -> Iterator[RenderableType]:
    if plan.rejection:
        yield Text(f"Why: {plan.rejection.reason}; short by {gib(plan.rejection.short_by_bytes)}.", "red")
    yield from _changes(plan)


def _changes(plan: Plan) -> Iterator[RenderableType]:
    if plan.alternatives:
        yield Text("What would do (each planned):")
        for alternative in plan.alternatives:
            yield Text(f"  {alternative.change}: ").append(alternative.arguments, "bold")
    elif not plan.meets_wish:
        yield Text("No small change was found that meets the wish.")


def render(plan: Plan, files: list[str]) -> RenderableType:
    """The whole report as one renderable."""
    pieces: list[RenderableType] = [_headline(plan), _capacity(plan), Text(), _bar(plan), _ledger(plan), Text(), _settings(plan)]
    if not plan.meets_wish:
        pieces += [Text(), *_problem(plan)]
    if plan.warnings:
        pieces += [Text(), *(Text(f"! {warning.message}", "yellow") for warning in plan.warnings)]
    if plan.verdict != "does_not_start":
        pieces += [Text(), Text(shlex.join(plan.argv), "bold", no_wrap=True, overflow="ignore")]
    if files:
        pieces += [Text(), Text("wrote " + ", ".join(files), "dim")]
    return Group(*pieces)


def render_check(checked: Checked) -> RenderableType:
    """The report about somebody's command."""
    plan = checked.plan
    word, style = _VERDICT[checked.verdict]
    group, config = checked.request.group, checked.config
    heading = Text().append(checked.repo, "bold").append(f" on {group.count}x {group.gpu.title} with vLLM {config.vllm_version}: ").append(word, style)
    pieces: list[RenderableType] = [heading]
    for problem in checked.problems:
        pieces += [Text(f"x {problem.code}: {problem.message}", "red"), Text("  fix: ").append(problem.fix, "bold")]
    if plan:
        pieces += [_capacity(plan), Text(), _bar(plan), _ledger(plan), Text(), _settings(plan)]
        if plan.alternatives:
            pieces += [Text(), *_changes(plan)]
        if plan.warnings:
            pieces += [Text(), *(Text(f"! {warning.message}", "yellow") for warning in plan.warnings)]
    return Group(*pieces)


def show(plan: Plan, files: list[str], console: Console) -> None:
    """Print the report to a console; plain where it is not a terminal."""
    console.print(render(plan, files), soft_wrap=False, crop=False)
