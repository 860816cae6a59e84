"""A figure over another with its ends: what a picture shows, as numbers."""

from __future__ import annotations

from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of x with the low, the expected and the high value of y; `kind` names it in pages and files."""

    kind: str
    title: str
    x_label: str
    y_label: str
    points: tuple[tuple[int, float, float, float], ...]
