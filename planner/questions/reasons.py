"""Why a row stands where it does among the models for a machine, or the machines for a model: what it has more or less of than the row above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.facts.speed import seen_by_each
from planner.questions.choose import CLOSE, EQUAL, Chosen, dominates

if TYPE_CHECKING:  # machines read a grid, which models do not
    from planner.questions.machines import Machine


def reasons(models: Sequence[Chosen]) -> list[str]:
    """A sentence each, without its full stop, best first."""
    return [_first(model) if not place else _after(model, models[place - 1], models[:place], place) for place, model in enumerate(models)]


def _first(model: Chosen) -> str:
    return f"{_told(model)}: {'the fastest that starts as asked' if model.is_slow else 'the best for its speed'}"


def _after(model: Chosen, above: Chosen, before: Sequence[Chosen], place: int) -> str:
    """Beside the row above: more of what, less of what; on the front, or which row is as good in everything."""
    if model.is_sure != above.is_sure:
        return f"{_told(model)}: {f'it {model.lacking}' if model.lacking else f'it is {model.fit.verdict.words}'}"
    more = [name for name, mine, its in _compared(model, above) if mine > its]
    less = [name for name, mine, its in _compared(model, above) if mine < its]
    better = next((number for number, other in enumerate(before, 1) if dominates(other, model)), None)
    text = f"less {_listed(less)} than {place}" if less else f"about as good as {place}"
    text += f", more {_listed(more)}" if more else ""
    return f"{_told(model)}: {text}" + (f"; behind {better}, which is at least as good in all" if better else "")


def _told(model: Chosen) -> str:
    """What its quality is told by."""
    return f"by {model.offer.standing.words}"


def _compared(model: Chosen, above: Chosen) -> list[tuple[str, float, float]]:
    """Quality, speed and users of two rows; what is no surer than equal is equal."""
    pairs = [("quality", *_apart(model.quality, above.quality, CLOSE))]
    speeds = (model.tokens_per_s or 0.0, above.tokens_per_s or 0.0)
    if all(speeds):
        pairs.append(("speed", *(speeds if max(speeds) > EQUAL * min(speeds) else (0.0, 0.0))))
    users = (model.fit.at_once, above.fit.at_once)
    return [*pairs, ("users", *(users if max(users) > EQUAL * min(users) else (0.0, 0.0)))]


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def _apart(mine: float, its: float, least: float) -> tuple[float, float]:
    return (mine, its) if abs(mine - its) > least else (0.0, 0.0)


def machine_reasons(machines: Sequence[Machine], users: int) -> list[str]:
    """A sentence each, without its full stop, cheapest first."""
    return [_machine(machine, machines[place - 1] if place else None, users, place) for place, machine in enumerate(machines)]


def _machine(machine: Machine, above: Machine | None, users: int, place: int) -> str:
    """What it costs beside the one above it, and what is had for that."""
    price = _price(machine)
    if above is None:
        return (
            f"{price}: nothing of what was asked costs less, holds this and is fast enough" if price else "no price is known; the least memory that holds this"
        )
    if not price:
        return "no price is known" + (f"; no less memory than {place}" if not _price(above) else "; the least memory of those")
    more = [name for name, mine, its in _beside(machine, above, users) if its and mine > EQUAL * its]
    more += ["bits"] if machine.stored.bits > above.stored.bits else []
    return price + (
        f": more {_listed(more)} than {place}"
        if more
        else f": {'dearer than' if _is_dearer(machine, above) else 'as'} {place}, and no more of anything: where that is not to be had"
    )


def _beside(machine: Machine, above: Machine, users: int) -> list[tuple[str, float, float]]:
    """Speed and users of two machines."""
    speeds = [seen_by_each(one.speed, users) or 0.0 for one in (machine, above)]
    held = [one.at_once for one in (machine, above)]
    return [("speed", speeds[0], speeds[1]), ("users", held[0], held[1])]


def _price(machine: Machine) -> str:
    if machine.rent_usd_per_hour is not None:
        return f"${machine.rent_usd_per_hour:.2f} an hour"
    return f"${machine.buy_usd:,.0f} to buy, for rent nowhere" if machine.buy_usd is not None else ""


def _is_dearer(machine: Machine, above: Machine) -> bool:
    pairs = ((machine.rent_usd_per_hour, above.rent_usd_per_hour), (machine.buy_usd, above.buy_usd))
    return next((mine > its for mine, its in pairs if mine is not None and its is not None), True)
