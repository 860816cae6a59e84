"""How good a model is for a purpose: by a public index where one measured it, by the models nearest to it that were measured, else by a rule of size and age.

All are told in doublings: the binary logarithm of as many billions of dense parameters of January 2023. The rule is sqrt(parameters x active
parameters), doubled for every `DOUBLING_MONTHS` of a later release; an index is laid over it by the line that its figures and the rule make together (indexes.json).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from math import log2
from pathlib import Path
from typing import Literal

from planner.catalogue.rows import Quality
from planner.facts.record import dataclass

DOUBLING_MONTHS = 8  # between two laws: arXiv 2403.05812 (compute for equal loss halves in 8 months) and 2412.04315 (parameters in 3.5)
CODE_BONUS = 0.5  # GUESS, doublings: what a model made for code is worth more at it than a general one of its size and age, and less at all else
FAMILY_PRIOR = 1.0  # GUESS: a family of one measured model tells half of how its others depart from the rule, one of two models two thirds

UNMEASURED = 0.5  # GUESS, doublings: who measures picks what is good, so what nobody measured, nor anything of its family, is likely less than the rule says

Basis = Literal["measured", "line", "family", "rule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """What is known of a model that a figure may be told from."""

    name: str
    family: str
    parameters: int
    active_parameters: int
    released: str
    for_code: bool = False
    replaces: str = ""
    based_on: str = ""
    quality: tuple[Quality, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How good a model is, in doublings, and by what: its own figure, that of a model of its line, those of its family, or the rule alone."""

    doublings: float
    basis: Basis
    quality: Quality | None = None
    of: str = ""
    """The model that `quality` was measured of."""

    @property
    def strength(self) -> float:
        """Billions of dense parameters of January 2023."""
        return float(2**self.doublings)

    @property
    def words(self) -> str:
        """What orders it, for a reader."""
        if self.quality is None:
            return "size and age"
        figure = f"{self.quality.index}: {self.quality.value:.1f}"
        return figure if self.basis == "measured" else f"size and age beside {self.of} ({figure})"


def months(released: str) -> int:
    """Months from January 2023 to a month like 2025-04."""
    year, month = released.split("-")
    return (int(year) - 2023) * 12 + int(month) - 1


def rule(model: Rated, purpose: str) -> float:
    """Doublings by size and age alone."""
    size = 0.5 * (log2(model.parameters / 1e9) + log2(model.active_parameters / 1e9))
    made_for_it = 0.0 if purpose == "embedding" or not model.for_code else CODE_BONUS if purpose == "code" else -CODE_BONUS if purpose != "agent" else 0.0
    return size + months(model.released) / DOUBLING_MONTHS + made_for_it


def standings(models: Iterable[Rated], purpose: str) -> dict[str, Standing]:
    """The standing of each model by its name. A figure of its own goes before that of its line (what it replaces, what replaces it), and that before its family's."""
    known = {model.name: model for model in models}
    held = {name: standing for name, model in known.items() if (standing := _measured(model, purpose))}
    rules = {name: rule(model, purpose) for name, model in known.items()}
    for name in known:
        if name not in held and (near := _nearest(name, known, held)):
            held[name] = Standing(doublings=rules[name] + held[near].doublings - rules[near], basis="line", quality=held[near].quality, of=near)
    families: dict[str, list[str]] = {}
    for name in held:
        families.setdefault(known[name].family, []).append(name)
    told = {name: held.get(name) or _by_family(name, rules, held, families.get(model.family, [])) for name, model in known.items()}
    for model in sorted(known.values(), key=lambda model: months(model.released)):
        before = known.get(model.replaces)
        if before and told[model.name].basis != "measured" and _is_as_large(model, before) and told[before.name].doublings > told[model.name].doublings:
            told[model.name] = told[before.name]  # a family's figure says less than that its makers replaced it
    for name, model in known.items():
        if model.based_on in told and told[name].basis != "measured":
            origin = told[model.based_on]
            for_another = min(0.0, rule(model, purpose) - rule(replace(model, for_code=False), purpose))
            told[name] = replace(origin, basis="line" if origin.quality else "rule", doublings=origin.doublings + for_another)
    return told


def _is_as_large(model: Rated, before: Rated) -> bool:
    """Whether a model has about as many parameters as another, or more, and uses about as many for a token."""
    return model.parameters >= 0.9 * before.parameters and model.active_parameters >= 0.9 * before.active_parameters


@dataclass(frozen=True, slots=True)
class _Line:
    """How figures of an index are laid over the rule, and for which purposes."""

    purposes: tuple[str, ...]
    at_zero: float
    per_point: float
    share: float
    add: float

    def told(self, figure: float) -> float:
        """Doublings by a figure alone."""
        return self.at_zero + self.per_point * (figure + self.add)


def _measured(model: Rated, purpose: str) -> Standing | None:
    figures = [(figure, line) for figure in model.quality if (line := _lines().get(figure.index)) and purpose in line.purposes]
    if not figures:
        return None
    figure, line = max(figures, key=lambda pair: pair[0].date)
    plain = rule(replace(model, for_code=False), purpose)  # what an index of code says holds for whatever a model was made for
    return Standing(doublings=line.share * line.told(figure.value) + (1 - line.share) * plain, basis="measured", quality=figure, of=model.name)


def _nearest(name: str, known: Mapping[str, Rated], held: Mapping[str, Standing]) -> str:
    """The nearest model of its line that was measured itself: of those before it the last, else of those behind it the first; empty where none was."""
    seen, before = {name}, known[name].replaces
    while before in known and before not in seen:
        if before in held and held[before].basis == "measured":
            return before
        seen.add(before)
        before = known[before].replaces
    later = {model.replaces: model.name for model in known.values() if model.replaces}
    behind = later.get(name, "")
    while behind and behind not in seen:
        if behind in held and held[behind].basis == "measured":
            return behind
        seen.add(behind)
        behind = later.get(behind, "")
    return ""


def _by_family(name: str, rules: Mapping[str, float], held: Mapping[str, Standing], family: list[str]) -> Standing:
    if not family:
        return Standing(doublings=rules[name] - UNMEASURED, basis="rule")
    departs = sum(held[one].doublings - rules[one] for one in family) / (len(family) + FAMILY_PRIOR)
    near = min(family, key=lambda one: abs(rules[one] - rules[name]))
    return Standing(doublings=rules[name] + departs, basis="family", quality=held[near].quality, of=held[near].of)


@cache
def _lines() -> Mapping[str, _Line]:
    held = json.loads(Path(__file__).with_name("indexes.json").read_text("utf-8"))
    lines = {}
    for name, index in held["indexes"].items():
        line = held["lines"][index["line"]]
        lines[name] = _Line(tuple(line["purposes"]), line["at_zero"], line["per_point"], line["share"], index["add"])
    return lines
