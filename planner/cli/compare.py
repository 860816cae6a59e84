"""`plan compare`: one model on one machine under every runtime, side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from planner.cli.command import command, option, output_options
from planner.cli.names import Name
from planner.cli.options import type_of
from planner.errors import PlannerError
from planner.facts.hardware import Host
from planner.facts.question import ServiceRow, StackRow
from planner.questions.command_line import command_line
from planner.questions.fields import FIELDS, MOST_COUNT
from planner.units import parse_context

if TYPE_CHECKING:
    from planner.questions.comparison import Comparison
    from planner.questions.ways import Way

MOST_PAIRS = 64


@command("compare")
@option("--gpu", "gpus", required=True, type=Name("gpu", many=True), help="The GPU or Mac, or several with commas: rtx4090, a100-80, m4-max-128gb, …")
@option("--count", "counts", default="1", show_default=True, help="How many of them, or several numbers with commas: 1,2 shows what a second one adds.")
@option(
    "--model",
    "models",
    required=True,
    type=Name("model", many=True),
    help="A catalogue name, owner/name on the Hub, or a folder with a config.json; or several with commas.",
)
@option("--context", help="The context wanted, e.g. 128k; else the longest that each surely holds.")
@option("--users", type=type_of(FIELDS["users"]), help="How many users, each at full context.")
@option(
    "--host", "host_kind", type=click.Choice([str(host) for host in Host]), default="server", show_default=True, help="The kind of machine, not an address."
)
@output_options
@click.pass_context
def compare_command(ctx: click.Context, /, **options: Any) -> None:
    """Put vLLM, Ollama, llama.cpp and MLX side by side, each with the same class of weights (16, 8, 4 bits), and say which is best for what.

    For every GPU, count and model named; exit 1 where none of them does what is asked.
    """
    from planner.questions.ways import together
    from planner.report.compare import comparison_json, render

    counts = [_count(text) for text in _names(options["counts"])]
    models = together(_names(options["models"]))
    asked = [(gpu, count, names) for names in models for gpu in _names(options["gpus"]) for count in counts]
    if not 1 <= len(asked) <= MOST_PAIRS:
        raise PlannerError(f"{len(asked)} pairs of GPUs and a model; 1 to {MOST_PAIRS} are compared", "plan sweep computes larger grids")
    found = [_compared(gpu, count, names, options) for gpu, count, names in asked]
    if all(row.refusal for one in found for row in one.rows):
        raise PlannerError(found[0].rows[0].refusal)
    if options["style"] == "json":
        answers = [comparison_json(one) for one in found]
        click.echo(json.dumps({"schema": 1} | (answers[0] if len(answers) == 1 else {"comparisons": answers}), indent=2))
    else:
        from planner.report.console import console

        console().print(render(found), crop=False)
    ctx.exit(0 if any(row.is_sure for one in found for row in one.rows) else 1)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:5]) <= MOST_COUNT:
        raise PlannerError(f"--count: {text[:40]!r} is not a whole number from 1 to {MOST_COUNT:,}", "--count 2, or --count 1,2")
    return int(text)


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _compared(name: str, count: int, names: list[str], options: dict[str, Any]) -> Comparison:
    from planner.catalogue.load import find_gpu
    from planner.questions.compare import compare, runtimes, usual_context
    from planner.questions.comparison import Comparison
    from planner.questions.ways import ways

    gpu, context = find_gpu(name), _context(options["context"])

    def ask(way: Way, tokens: int | None, users: int | None) -> object:
        service = ServiceRow(model=way.model, quantization=way.quantization, context=tokens, users=users)
        return _answer(way.engine, name, count, service, options)

    machine = {"gpu": name, "count": count if count > 1 else None, "host_kind": options["host_kind"] if options["host_kind"] != Host.SERVER else None}
    rows = compare(ways(names, runtimes(gpu.vendor), gpu), ask, context, options["users"], context or usual_context(names[0]))
    return Comparison(gpu=gpu, count=count, model=", ".join(names), rows=tuple(rows), asked=command_line(machine))


def _context(text: str | None) -> int | None:
    try:
        return parse_context(text) if text else None
    except ValueError as error:
        raise PlannerError(f"--context: {error}") from None


def _answer(engine: str, gpu: str, count: int, service: ServiceRow, options: dict[str, Any]) -> object:
    from planner.questions.vllm import answer_for

    row = StackRow(gpu=gpu, count=count, host=options["host_kind"], engine=engine, services=[service])  # type: ignore[arg-type]
    return answer_for(row)
