"""What money decides between machines side by side, for the terminal: their prices, the cheapest that does what is asked, what a dearer one buys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.questions.comparison import Comparison
from planner.questions.comparison_money import Cheapest, Dearer, Offer, cheapest_of
from planner.questions.cost_terms import no_price
from planner.report.cost import WAYS
from planner.report.table import Column, Fitted, Row
from planner.report.text import Piece, Text
from planner.report.words import figure, usd

_MORE = {
    "longest context": "the context",
    "fastest for one user": "the tokens/s of one user",
    "most users": "the users",
    "most tokens/s together": "the tokens/s together",
}


def price(comparison: Comparison) -> str:
    """What a machine costs, as far as somebody says."""
    said = [f"${usd(priced.way.usd)}{' an hour' if priced.way.kind == 'rent' else ' to buy'}" for priced in comparison.ways]
    return ", ".join(said) or no_price(comparison.gpu)


def render(comparisons: Sequence[Comparison]) -> Iterator[Piece]:
    """A table for renting and one for buying, the cheapest machine first."""
    for cheapest in cheapest_of(comparisons):
        rows = [_row(cheapest.offer), *(_row(each.offer, _buys(each)) for each in cheapest.dearer)]
        title = f"What does what is asked, {WAYS[cheapest.kind]}, the cheapest first"
        names = (Column("machine", is_left=True), Column("an hour"), Column("$/M output"), Column("$/M full"), Column("with", 1, is_left=True))
        yield Text()
        yield Fitted(names, rows, title)
        yield from _unpriced(cheapest)


def _row(offer: Offer, *told: str) -> Row:
    machine, load = offer.comparison, offer.row.first_load
    full = offer.full_usd_per_million_output_tokens if load and load.load == "asked" else None
    amounts = (usd(of.expected) if of else "" for of in (offer.usd_per_million_output_tokens, full))
    return Row((f"{machine.count}x {machine.gpu.title}", f"${usd(offer.usd_per_serving_hour)}", *amounts, f"{offer.row.engine} {offer.row.quantization}"), told)


def _buys(dearer: Dearer) -> str:
    times = f"{figure(dearer.times_the_price)} times the price"
    gains = ", ".join(f"{figure(gain.times)} times {_MORE[gain.what]}" for gain in dearer.buys)
    return f"{times} buys {gains}" if gains else f"{times} buys nothing more of what is compared"


def _unpriced(cheapest: Cheapest) -> Iterator[Text]:
    names = list(dict.fromkeys(comparison.gpu.title for comparison in cheapest.unpriced))
    if names:
        yield Text(f"No price of {', '.join(names)} {'to rent' if cheapest.kind == 'rent' else 'to buy'} is known: --prices FILE.", "yellow")


def notes(comparisons: Sequence[Comparison]) -> Iterator[Text]:
    """What the figures are of, and whose prices they rest on."""
    loads = [row.loads[0] for comparison in comparisons for row in comparison.rows if row.loads and comparison.ways]
    if loads:
        served, full = loads[0].served, "as many at once as it holds"
        at_once, of_full = (f"{loads[0].concurrency:,} at once", f"; full: with {full}") if loads[0].load == "asked" else (full, "")
        lengths = f"{served.prompt_tokens:,} prompt and {served.output_tokens:,} output tokens"
        shared = "docs/cost.md says how prompts and outputs share the cost"
        yield Text(f"$/M: US dollars of a million output tokens with {at_once}, each with {lengths}{of_full}. {shared}.", "dim")
    for title, told in {(comparison.gpu.title, comparison.notes): None for comparison in comparisons if comparison.notes}:
        yield Text(f"{title}: {'; '.join(told)}.", "dim")
