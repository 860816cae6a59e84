"""`plan compare`: one model on one machine under every runtime, side by side."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click

from planner.cli_command import command, option, output_options
from planner.cli_names import Name
from planner.errors import PlannerError
from planner.hardware import GpuSpec, Host
from planner.stack_file import ServiceRow, StackRow
from planner.units import GIB, parse_context, tokens

MOST_PAIRS = 64


@command("compare")
@option("--gpu", "gpus", required=True, type=Name("gpu", many=True), help="The GPU or Mac, or several with commas: rtx4090, a100-80, m4-max-128gb, …")
@option("--count", default=1, show_default=True, type=click.IntRange(1, 1024), help="How many of them.")
@option(
    "--model",
    "models",
    required=True,
    type=Name("model", many=True),
    help="A catalogue name, owner/name on the Hub, or a folder with a config.json; or several with commas.",
)
@option("--context", help="The context wanted, e.g. 128k; else the longest that each surely holds.")
@option("--users", type=click.IntRange(1, 100_000), help="How many people at once.")
@option(
    "--host", "host_kind", type=click.Choice([str(host) for host in Host]), default="server", show_default=True, help="The kind of machine, not an address."
)
@output_options
@click.pass_context
def compare_command(ctx: click.Context, /, **options: Any) -> None:
    """Put vLLM, Ollama, llama.cpp and MLX side by side, for every GPU and model named; exit 1 where none of them does what is asked."""
    pairs = [(gpu, model) for model in _names(options["models"]) for gpu in _names(options["gpus"])]
    if not 1 <= len(pairs) <= MOST_PAIRS:
        raise PlannerError(f"{len(pairs)} pairs of a GPU and a model; 1 to {MOST_PAIRS} are compared", "plan sweep computes larger grids")
    found = [_compared(gpu, model, options) for gpu, model in pairs]
    if all(row.refusal for _, rows in found for row in rows):
        raise PlannerError(found[0][1][0].refusal)
    answers = [
        {"gpu": gpu.name, "count": options["count"], "model": model, "runtimes": [asdict(row) for row in rows]}
        for (_, model), (gpu, rows) in zip(pairs, found, strict=True)
    ]
    if options["style"] == "json":
        click.echo(json.dumps({"schema": 1} | (answers[0] if len(answers) == 1 else {"comparisons": answers}), indent=2))
    else:
        for (_, model), (gpu, rows) in zip(pairs, found, strict=True):
            _show(rows, f"{model} on {options['count']}x {gpu.title}")
    ctx.exit(0 if any(row.verdict == "starts" and not row.layers_on_cpu for _, rows in found for row in rows) else 1)


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _compared(name: str, model: str, options: dict[str, Any]) -> tuple[GpuSpec, list[Any]]:
    from planner.catalog import find_gpu
    from planner.compare import compare, runtimes

    gpu = find_gpu(name)
    service = ServiceRow(model=model, context=_context(options["context"]), users=options["users"])
    return gpu, compare(runtimes(gpu.vendor), lambda engine: _answer(engine, name, service, options))


def _context(text: str | None) -> int | None:
    try:
        return parse_context(text) if text else None
    except ValueError as error:
        raise PlannerError(f"--context: {error}") from None


def _answer(engine: str, gpu: str, service: ServiceRow, options: dict[str, Any]) -> object:
    from planner.cli_stack import answer_for

    row = StackRow(gpu=gpu, count=options["count"], host=options["host_kind"], engine=engine, services=[service])  # type: ignore[arg-type]
    return answer_for(row)


def _show(rows: list[Any], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim", title=title, title_justify="left", title_style="bold")
    for name in ("runtime", "weights", "it", "context", "at once", "tokens/s", "GiB of a GPU", "agent-safe", "set-up steps"):
        table.add_column(name, justify="right" if name in ("context", "at once", "tokens/s") else "left", no_wrap=name not in ("set-up steps", "it"))
    words = {"starts": "fits", "tight": "tight: may fail", "does_not_start": "does not fit"}
    for row in rows:
        if row.refusal:
            table.add_row(row.engine, "", Text(row.refusal, "yellow"))
            continue
        verdict = words[row.verdict] + (f", {row.layers_on_cpu} layers on the CPU" if row.layers_on_cpu else "")
        rate = "" if row.tokens_per_s is None else f"{row.tokens_per_s:g}"
        used = f"{row.used_bytes / GIB:.1f} of {row.available_bytes / GIB:.1f}"
        table.add_row(row.engine, row.quantization, verdict, tokens(row.context), f"{row.users:.1f}", rate, used, row.agent_safe, ", ".join(row.steps))
    console.print(table, crop=False)
    for row in rows:
        if row.agent_note:
            console.print(Text(f"{row.engine}: {row.agent_note}", "dim"), crop=False)
