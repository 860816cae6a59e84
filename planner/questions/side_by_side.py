"""Several machines and models beside each other: every pair of them is one comparison of runtimes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from planner.catalogue.load import find_gpu
from planner.catalogue.prices import Prices, read_prices
from planner.errors import PlannerError
from planner.facts.plan import Plan
from planner.facts.question import HostName, ServiceRow, StackRow
from planner.facts.record import dataclass
from planner.facts.speed import OUTPUT, PROMPT
from planner.questions.command_line import command_line
from planner.questions.compare import compare, runtimes, usual_context
from planner.questions.comparison import Comparison
from planner.questions.cost_terms import Terms, notes, priced_ways
from planner.questions.fields import MOST_COUNT
from planner.questions.plan import plan_as_asked
from planner.questions.ways import Way, together, ways

MOST_PAIRS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be compared: names and numbers with commas between them, what is wished of each, and what is said of money."""

    gpus: str
    counts: str
    models: str
    context: int | None
    users: int | None
    host: HostName
    input: int | None = None
    output_tokens: int | None = None
    terms: Terms = Terms()


def comparisons_of(asked: Asked, own: Mapping[str, object], most: int = MOST_PAIRS) -> list[Comparison]:
    """Every machine with every model, of `own` files of rows where those count. Raises PlannerError for too many pairs, and where none can be served."""
    counts = [_count(text) for text in _names(asked.counts)]
    pairs = [(gpu, count, names) for names in together(_names(asked.models)) for gpu in _names(asked.gpus) for count in counts]
    if not 1 <= len(pairs) <= most:
        raise PlannerError(f"{len(pairs)} pairs of GPUs and a model; 1 to {most} are compared", "plan sweep computes larger grids")
    prices = read_prices(asked.terms.prices)
    comparisons = [_compared(*pair, asked=asked, own=own, prices=prices) for pair in pairs]
    if all(row.refusal for comparison in comparisons for row in comparison.rows):
        raise PlannerError(comparisons[0].rows[0].refusal)
    return comparisons


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:5]) <= MOST_COUNT:
        raise PlannerError(f"--count: {text[:40]!r} is not a whole number from 1 to {MOST_COUNT:,}", "--count 2, or --count 1,2")
    return int(text)


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _compared(name: str, count: int, names: list[str], *, asked: Asked, own: Mapping[str, object], prices: Prices) -> Comparison:
    gpu = find_gpu(name)

    def ask(way: Way, tokens: int | None, users: int | None, cache: str | None) -> Plan:
        service = ServiceRow(
            model=way.model,
            quantization=way.quantization,
            context=tokens,
            users=users,
            kv_cache_dtype=cache,
            input=asked.input,
            output_tokens=asked.output_tokens,
        )
        return plan_as_asked(StackRow(gpu=name, count=count, host=asked.host, engine=way.engine, services=[service]))

    machine: dict[str, object] = {"gpu": name, "count": count if count > 1 else None, "host_kind": asked.host if asked.host != "server" else None}
    machine |= {"input": asked.input, "output_tokens": asked.output_tokens, **own}
    length = (asked.input or PROMPT) + (asked.output_tokens or OUTPUT)
    rows = compare(ways(names, runtimes(gpu), gpu), ask, asked.context, asked.users, asked.context or usual_context(names[0], length))
    priced = priced_ways(gpu, count, asked.terms, prices)
    return Comparison(
        gpu=gpu,
        count=count,
        model=", ".join(names),
        rows=tuple(rows),
        asked=command_line(machine),
        cost_asked=command_line({**machine, **_said(asked.terms)}, command="cost"),
        users=asked.users or 0,
        ways=priced,
        notes=tuple(notes(priced_ways(gpu, 1, asked.terms, prices), asked.terms, gpu, 1, date.today())) if priced else (),
    )


def _said(terms: Terms) -> dict[str, object]:
    """The terms that are not as usual, by their options."""
    names = ("years", "utilization", "usd_per_kwh", "prices")
    return {name: getattr(terms, name) for name in names if getattr(terms, name) != getattr(Terms(), name)}
