"""`plan compare`: one model on one machine under every runtime, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from planner.cli.command import OWN_FILES, command, option, output_options, typed
from planner.cli.names import Name
from planner.cli.options import type_of
from planner.cli.own_rows import own_rows
from planner.cli.printing import print_json, print_report
from planner.errors import PlannerError
from planner.facts.hardware import Host
from planner.facts.plan import Plan
from planner.facts.question import HostName, ServiceRow, StackRow
from planner.facts.record import dataclass
from planner.questions.command_line import command_line
from planner.questions.fields import FIELDS, MOST_COUNT
from planner.report.head import HEAD
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
@own_rows()
@output_options
@click.pass_context
def compare_command(
    ctx: click.Context, /, *, gpus: str, counts: str, models: str, context: str | None, users: int | None, host_kind: HostName, style: str
) -> None:
    """Put vLLM, Ollama, llama.cpp and MLX side by side, each with the same class of weights (16, 8, 4 bits), and say which is best for what.

    For every GPU, count and model named, then what they come to beside each other; exit 1 where none of them does what is asked.
    """
    from planner.questions.ways import together
    from planner.report.compare import comparison_json, conclusion_json, render

    numbers = [_count(text) for text in _names(counts)]
    asked = [(gpu, count, names) for names in together(_names(models)) for gpu in _names(gpus) for count in numbers]
    if not 1 <= len(asked) <= MOST_PAIRS:
        raise PlannerError(f"{len(asked)} pairs of GPUs and a model; 1 to {MOST_PAIRS} are compared", "plan sweep computes larger grids")
    wish = _Wish(_context(context), users, host_kind)
    comparisons = [_compared(gpu, count, names, wish) for gpu, count, names in asked]
    if all(row.refusal for comparison in comparisons for row in comparison.rows):
        raise PlannerError(comparisons[0].rows[0].refusal)
    if style == "json":
        answers = [comparison_json(comparison) for comparison in comparisons]
        print_json({**HEAD, **answers[0]} if len(answers) == 1 else {**HEAD, "comparisons": answers, "conclusion": conclusion_json(comparisons)})
    else:
        print_report(render(comparisons))
    ctx.exit(0 if any(row.is_sure for comparison in comparisons for row in comparison.rows) else 1)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:5]) <= MOST_COUNT:
        raise PlannerError(f"--count: {text[:40]!r} is not a whole number from 1 to {MOST_COUNT:,}", "--count 2, or --count 1,2")
    return int(text)


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


@dataclass(frozen=True, slots=True)
class _Wish:
    context: int | None
    users: int | None
    host: HostName


def _compared(name: str, count: int, names: list[str], wish: _Wish) -> Comparison:
    from planner.catalogue.load import find_gpu
    from planner.questions.compare import compare, runtimes, usual_context
    from planner.questions.comparison import Comparison
    from planner.questions.plan import plan_as_asked
    from planner.questions.ways import ways

    gpu = find_gpu(name)

    def ask(way: Way, tokens: int | None, users: int | None, cache: str | None) -> Plan:
        service = ServiceRow(model=way.model, quantization=way.quantization, context=tokens, users=users, kv_cache_dtype=cache)
        return plan_as_asked(StackRow(gpu=name, count=count, host=wish.host, engine=way.engine, services=[service]))

    machine: dict[str, object] = {"gpu": name, "count": count if count > 1 else None, "host_kind": wish.host if wish.host != "server" else None}
    machine |= {name: path for name, path in typed().items() if name in OWN_FILES}
    rows = compare(ways(names, runtimes(gpu), gpu), ask, wish.context, wish.users, wish.context or usual_context(names[0]))
    return Comparison(gpu=gpu, count=count, model=", ".join(names), rows=tuple(rows), asked=command_line(machine), users=wish.users or 0)


def _context(text: str | None) -> int | None:
    try:
        return parse_context(text) if text else None
    except ValueError as error:
        raise PlannerError(f"--context: {error}") from None
