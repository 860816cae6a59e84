"""Which cards of the catalogue measurements and tests go over: one of each kind, where the next would say the same again."""

from __future__ import annotations

from functools import cache

from planner.catalogue.cards import cards
from planner.facts.hardware import GpuSpec
from planner.units import GIB


@cache
def kinds_of_cards() -> tuple[GpuSpec, ...]:
    """One card of each kind that a memory plan tells apart: maker, instruction set, what its memory is made of, and GiB of it."""
    kinds: dict[tuple[object, ...], GpuSpec] = {}
    for card in cards():
        kinds.setdefault((card.vendor, card.capability, card.gfx, card.memory_type, round(card.memory_bytes / GIB)), card)
    return tuple(kinds.values())
