"""What money decides between machines that were compared: the cheapest that does what is asked, and what a dearer one buys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from planner.facts.record import dataclass
from planner.facts.speed import Range, significant
from planner.questions.comparison import FIGURES, Compared, Comparison
from planner.questions.cost_terms import PricedWay
from planner.questions.money import token_cost

KINDS: tuple[Literal["rent"], Literal["buy"]] = ("rent", "buy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One machine with the row that serves tokens there for least, or where no speed is known the first row that surely starts."""

    comparison: Comparison
    row: Compared
    priced: PricedWay
    usd_per_million_output_tokens: Range | None
    """At the asked load, or else at the full one."""
    full_usd_per_million_output_tokens: Range | None
    """With as many at once as it holds."""

    @property
    def usd_per_serving_hour(self) -> float:
        """What an hour that serves costs."""
        return self.priced.way.usd_per_serving_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What there is more of than on the cheapest: `what` it is best for, its value, and how many times as much that is."""

    what: str
    value: float
    times: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dearer:
    """A machine that costs more than the cheapest, how many times as much an hour, and what that buys."""

    offer: Offer
    times_the_price: float
    buys: tuple[Gain, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cheapest:
    """Of the machines that have a price of one kind the cheapest that surely does what is asked, and the dearer ones, cheapest first."""

    kind: Literal["rent", "buy"]
    offer: Offer
    dearer: tuple[Dearer, ...]
    unpriced: tuple[Comparison, ...]
    """Those that do what is asked, of which nobody says such a price."""


def cheapest_of(comparisons: Sequence[Comparison]) -> tuple[Cheapest, ...]:
    """What money decides, rented and bought; nothing of a kind of which no machine that does what is asked has a price."""
    return tuple(_cheapest(comparisons))


def _cheapest(comparisons: Sequence[Comparison]) -> Iterator[Cheapest]:
    for kind in KINDS:
        offers = sorted((offer for comparison in comparisons if (offer := _offer(comparison, kind))), key=_price)
        if not offers:
            continue
        first, *rest = offers
        dearer = (Dearer(offer=each, times_the_price=each.usd_per_serving_hour / first.usd_per_serving_hour, buys=tuple(_gains(first, each))) for each in rest)
        unpriced = tuple(one for one in comparisons if not one.way(kind) and any(row.is_sure for row in one.rows))
        yield Cheapest(kind=kind, offer=first, dearer=tuple(dearer), unpriced=unpriced)


def _offer(comparison: Comparison, kind: Literal["rent", "buy"]) -> Offer | None:
    priced, sure = comparison.way(kind), [row for row in comparison.rows if row.is_sure]
    if not priced or not sure:
        return None
    return min((_priced(comparison, row, priced) for row in sure), key=_price)


def _priced(comparison: Comparison, row: Compared, priced: PricedWay) -> Offer:
    first, last = (token_cost(priced.way, load.served).usd_per_million_output_tokens if load else None for load in (row.first_load, row.full_load))
    return Offer(comparison=comparison, row=row, priced=priced, usd_per_million_output_tokens=first, full_usd_per_million_output_tokens=last)


def _price(offer: Offer) -> tuple[float, float]:
    """An hour first, then tokens; those whose speed nobody knows last."""
    tokens = offer.usd_per_million_output_tokens
    return offer.usd_per_serving_hour, tokens.expected if tokens else float("inf")


def _gains(first: Offer, other: Offer) -> Iterator[Gain]:
    """What another offers more of, by more than two digits would hide; of what nobody knows of either nothing is said."""
    for what, figure in FIGURES.items():
        less, more = figure(first.row), figure(other.row)
        if less and significant(more / less) > 1:
            yield Gain(what=what, value=more, times=more / less)
