"""Changes of a question, tried in their order until enough of them do: of any engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from planner.facts.alternatives import Alternative, Changed
from planner.facts.command_line import flag_of
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass
from planner.facts.verdict import Verdict

MOST_OFFERED = 6


MOST_GPUS = 8  # of one machine


LEAST_OFFERED = 4096  # tokens: a shorter context is no answer to who asked for a longer one


Others = tuple[tuple[str, Callable[[], ModelSpec]], ...]  # name of a variant and how to get it


Asked = TypeVar("Asked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What may stand in the model's or the GPU's place: published variants, the same weights quantized while loading, cards of about the price."""

    variants: Others = ()
    online: Callable[[], ModelSpec] | None = None
    cards: Callable[[], Sequence[GpuSpec]] | None = None  # cheapest first


NO_MARKET = Market()


@dataclass(frozen=True, slots=True)
class Change(Generic[Asked]):
    """One way to ask otherwise, of vLLM or of another runtime. Of each kind one is offered."""

    kind: str
    words: str
    changed: Changed
    asked: Asked


def offered(changes: Iterable[Change[Asked]], check: Callable[[Asked], bool]) -> tuple[Alternative, ...]:
    """Those changes that do, in their order, at most one of a kind; they are only tried until enough are found."""
    offers: dict[str, Alternative] = {}
    for change in changes:
        first, _, more = change.kind.partition(" and ")
        if change.kind in offers or (more and first in offers):  # both changes are for where one alone would not do
            continue
        if check(change.asked):
            offers[change.kind] = sure(change.words, change.changed)
        if len(offers) == MOST_OFFERED:
            break
    return tuple(offers.values())


def more_gpus(group: GpuGroup) -> Iterator[tuple[str, Changed, GpuGroup]]:
    """As many again of the GPUs that are there, as far as one machine holds them: in words, as options, and what it then is."""
    for factor in (2, 4, 8):
        if (count := group.count * factor) <= MOST_GPUS:
            cards = group.cards * factor
            changed: Changed = (("gpu", ",".join(card.name for card in cards)),) if cards else (("count", count),)
            yield f"{count} GPUs", changed, replace(group, count=count, cards=cards)


def sure(words: str, changed: Changed) -> Alternative:
    """A change that was seen to do."""
    arguments = " ".join(f"without {flag_of(name)}" if value is None else f"{flag_of(name)} {value}" for name, value in changed)
    return Alternative(change=words, arguments=arguments, verdict=Verdict.STARTS, changed=changed)


def both(change: Change[Asked], more: Change[Asked]) -> Change[Asked]:
    """Other weights, and a further change of what is then asked."""
    return Change(f"weights and {more.kind}", f"{change.words}, with {more.words}", (*change.changed, *more.changed), more.asked)
