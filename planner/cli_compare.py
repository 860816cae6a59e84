"""`plan compare`: one model on one machine under every runtime, side by side."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click

from planner.errors import PlannerError
from planner.hardware import Host
from planner.stack_file import ServiceRow, StackRow
from planner.units import GIB, parse_context, tokens


@click.command("compare")
@click.option("--gpu", required=True, help="The GPU or Mac: rtx4090, a100-80, m4-max-128gb, …")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 1024))
@click.option("--model", required=True, help="A catalogue name, owner/name on the Hub, or a folder with a config.json.")
@click.option("--context", help="The context wanted, e.g. 128k; else the longest that each surely holds.")
@click.option("--users", type=click.IntRange(1, 100_000), help="How many people at once.")
@click.option("--host", "host_kind", type=click.Choice([str(host) for host in Host]), default="server", show_default=True)
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def compare_command(ctx: click.Context, /, **options: Any) -> None:
    """Put vLLM, Ollama, llama.cpp and MLX side by side for a machine; exit 1 where none of them does what is asked."""
    from planner.catalog import find_gpu
    from planner.compare import compare, runtimes

    gpu = find_gpu(options["gpu"])
    service = ServiceRow(model=options["model"], context=_context(options["context"]), users=options["users"])
    rows = compare(runtimes(gpu.vendor), lambda engine: _answer(engine, service, options))
    if all(row.refusal for row in rows):
        raise PlannerError(rows[0].refusal)
    if options["style"] == "json":
        click.echo(
            json.dumps(
                {"schema": 1, "gpu": gpu.name, "count": options["count"], "model": options["model"], "runtimes": [asdict(row) for row in rows]}, indent=2
            )
        )
    else:
        _show(rows, f"{options['model']} on {options['count']}x {gpu.title}")
    ctx.exit(0 if any(row.verdict == "starts" and not row.layers_on_cpu for row in rows) else 1)


def _context(text: str | None) -> int | None:
    try:
        return parse_context(text) if text else None
    except ValueError as error:
        raise PlannerError(f"--context: {error}") from None


def _answer(engine: str, service: ServiceRow, options: dict[str, Any]) -> object:
    from planner.cli_stack import answer_for

    row = StackRow(gpu=options["gpu"], count=options["count"], host=options["host_kind"], engine=engine, services=[service])  # type: ignore[arg-type]
    return answer_for(row)


def _show(rows: list[Any], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim", title=title, title_justify="left", title_style="bold")
    for name in ("runtime", "weights", "it", "context", "at once", "GiB of a GPU", "agent-safe", "set-up steps"):
        table.add_column(name, justify="right" if name in ("context", "at once") else "left", no_wrap=name not in ("set-up steps", "it"))
    words = {"starts": "fits", "tight": "tight: may fail", "does_not_start": "does not fit"}
    for row in rows:
        if row.refusal:
            table.add_row(row.engine, "", Text(row.refusal, "yellow"))
            continue
        verdict = words[row.verdict] + (f", {row.layers_on_cpu} layers on the CPU" if row.layers_on_cpu else "")
        used = f"{row.used_bytes / GIB:.1f} of {row.available_bytes / GIB:.1f}"
        table.add_row(row.engine, row.quantization, verdict, tokens(row.context), f"{row.users:.1f}", used, row.agent_safe, ", ".join(row.steps))
    console.print(table, crop=False)
    for row in rows:
        if row.agent_note:
            console.print(Text(f"{row.engine}: {row.agent_note}", "dim"), crop=False)
