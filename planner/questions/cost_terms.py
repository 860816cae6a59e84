"""What is said of money beside a model and a machine, whose prices are taken where nothing is said, and what they are and are not of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from planner.catalogue.prices import Price, Prices
from planner.facts.hardware import GpuSpec
from planner.facts.record import dataclass
from planner.questions.money import Power, Way
from planner.units import usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is said of money and of the load beside the model and the machine; None where the catalogue's prices are meant."""

    rent_usd_per_hour: float | None = None
    """Of the whole machine."""
    buy_usd: float | None = None
    """The whole machine, its host too."""
    years: float = 3.0
    utilization: float = 1.0
    usd_per_kwh: float | None = None
    watts: float | None = None
    """What the whole machine draws at that load, measured or said."""
    idle_watts: float = 0.0
    requests_per_s: float | None = None
    documents: int | None = None
    prices: Path | None = None
    api: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedWay:
    """A way to have the machine, and whose price it is (of one GPU); None where the asker said it."""

    way: Way
    price: Price | None


def priced_ways(gpu: GpuSpec, count: int, terms: Terms, prices: Prices) -> tuple[PricedWay, ...]:
    """Renting and buying a machine, as far as somebody says what it costs."""
    rent, buy = prices.rent.get(gpu.name), prices.buy.get(gpu.name)
    rent_usd = terms.rent_usd_per_hour or (rent.usd * count if rent else None)
    buy_usd = terms.buy_usd or (buy.usd * count if buy else None)
    kwh, stated = terms.usd_per_kwh or prices.kwh_usd, gpu.power_w * count if gpu.power_w else None
    watts = terms.watts or stated
    power = Power(watts=watts, how="given" if terms.watts else "stated", usd_per_kwh=kwh, idle_watts=terms.idle_watts) if kwh and watts else None
    ways = []
    if rent_usd:
        ways.append(PricedWay(way=Way(kind="rent", usd=rent_usd, utilization=terms.utilization), price=None if terms.rent_usd_per_hour else rent))
    if buy_usd:
        way = Way(kind="buy", usd=buy_usd, utilization=terms.utilization, years=terms.years, power=power)
        ways.append(PricedWay(way=way, price=None if terms.buy_usd else buy))
    return tuple(ways)


def no_price(gpu: GpuSpec) -> str:
    """That nobody says what it costs."""
    return f"no price of {gpu.title} is known, to rent or to buy"


def notes(ways: Sequence[PricedWay], terms: Terms, gpu: GpuSpec, count: int, today: date) -> list[str]:
    """What a price is, how old, and what is not counted."""
    told = []
    for priced in ways:
        price, what = priced.price, "rent" if priced.way.kind == "rent" else "purchase"
        if price is None:
            told.append(f"{what}: ${usd(priced.way.usd)} as you say")
            continue
        seen = f"; seen {price.date}" if price.date else "; nobody says when it was seen"
        perhaps = " (its month is not said), perhaps" if len(price.date) == 4 else ","
        old = f"{seen}{perhaps} older than six months: ask anew, or --prices FILE" if price.is_old(today) else seen
        of = f"{count} x " if count > 1 else ""
        unit = " an hour" if priced.way.kind == "rent" else ""
        told.append(f"{what}: {of}${usd(price.usd)}{unit}, {price.at}" + (f" ({price.source})" if price.source else "") + old)
    told += _power_notes(ways, terms, gpu)
    return told


def _power_notes(ways: Sequence[PricedWay], terms: Terms, gpu: GpuSpec) -> list[str]:
    bought = next((priced for priced in ways if priced.way.kind == "buy"), None)
    if bought is None:
        return ["power is part of the rent"]
    host = [] if bought.price is None else ["a purchase is of the GPUs alone, but for a Mac or another whole machine: plan cost --buy-usd has the machine's"]
    power = bought.way.power
    if power is None:
        missing = [] if terms.usd_per_kwh else ["what a kilowatt hour costs (--usd-per-kwh)"]
        missing += [] if terms.watts or gpu.power_w else ["what the GPUs draw (plan cost --watts)"]
        return [*host, f"power of a bought machine is not counted: nobody says {' or '.join(missing)}"]
    how = "the makers' limit of the GPUs, an upper bound for them, without the host" if power.how == "stated" else "as you say"
    idle = "; what it draws while it idles is not counted (plan cost --idle-watts)" if terms.utilization < 1 and not power.idle_watts else ""
    return [*host, f"power: {power.watts:,.10g} W, {how}, at ${usd(power.usd_per_kwh)} a kWh{idle}"]
