"""The terminal report: verdict, ledger as a bar, settings with their reasons, warnings, the command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.check import Checked
from planner.estimate import Range, SpeedEstimate, estimate
from planner.placement import Placed, Stack, stack_warnings
from planner.plan import Alternative, Plan
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
VERDICT = {"starts": ("starts", "bold green"), "tight": ("tight: may fail", "bold yellow"), "does_not_start": ("does not start", "bold red")}
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
    word, style = VERDICT[plan.verdict]
    group = plan.request.group
    text = Text()
    text.append(f"{plan.repo}", "bold").append(f" on {group.label} with vLLM {plan.config.vllm_version}: ").append(word, style)
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


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _between(figure: Range) -> str:
    return f"{_number(figure.expected)} ({_number(min(figure.cautious, figure.hopeful))} to {_number(max(figure.cautious, figure.hopeful))})"


def _speed(found: SpeedEstimate | None) -> Iterator[Text]:
    """One line on speed and one on how sure it is; none where nothing is known."""
    if found is None:
        return
    text = Text(f"Speed, prompt {tokens(found.prompt_tokens)}, answer {tokens(found.answer_tokens)}: one user {_between(found.tokens_per_s)} tokens/s, ")
    text.append(f"first token in {_between(found.time_to_first_token_s)} s")
    if found.users > 1:
        text.append(f"; {found.users} users together {_between(found.total_tokens_per_s)}")
    yield text.append(".")
    yield Text(f"{found.grade}: {found.because}; a step is bound by {found.bound_by}", "dim")


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


def render(stack: Stack, files: list[str]) -> RenderableType:
    """The whole report as one renderable: the main server, then all of them where there are several."""
    plan = stack.main
    pieces: list[RenderableType] = [_headline(plan), _capacity(plan), *_speed(estimate(plan)), Text(), _bar(plan), _ledger(plan), Text(), _settings(plan)]
    if len(stack.servers) > 1:
        pieces += [Text(), _servers(stack)]
    if not stack.meets_wish:
        pieces += [Text(), *_problems(stack)]
    if warnings := stack_warnings(stack):
        pieces += [Text(), *(Text(f"! {warning.message}", "yellow") for warning in warnings)]
    if stack.verdict != "does_not_start":
        pieces += [Text(), *(_command(server, stack) for server in stack.servers)]
    if files:
        pieces += [Text(), Text("wrote " + ", ".join(files), "dim")]
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
        pieces += [_capacity(plan), Text(), _bar(plan), _ledger(plan), Text(), _settings(plan)]
        if plan.alternatives:
            pieces += [Text(), *_changes(plan.alternatives)]
        if plan.warnings:
            pieces += [Text(), *(Text(f"! {warning.message}", "yellow") for warning in plan.warnings)]
    return Group(*pieces)


def show(stack: Stack, files: list[str], console: Console) -> None:
    """Print the report to a console; plain where it is not a terminal."""
    console.print(render(stack, files), soft_wrap=False, crop=False)
