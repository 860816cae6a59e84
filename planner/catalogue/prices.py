"""What GPUs cost: the prices that ship, and a user's own file, which wins. Money is in US dollars; other currencies say what they are worth."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from pathlib import Path

from planner.catalogue.cards import served
from planner.catalogue.load import find_gpu
from planner.catalogue.rows import PriceFile, PriceRow
from planner.catalogue.shipped import shipped
from planner.catalogue.user_file import user_file
from planner.errors import PlannerError
from planner.facts.hardware import GpuSpec
from planner.facts.record import dataclass

MAX_FILE_BYTES = 256 * 1024


def own_prices_path() -> Path:
    """Where a user's prices lie unless --prices names another file."""
    return user_file("prices.yaml")


def read_prices(own: Path | None = None) -> Prices:
    """The shipped prices with a user's. Raises PlannerError for a file that cannot be used."""
    shipped = _table(_shipped())
    path = own or own_prices_path()
    if own is None and not path.exists():
        return shipped
    mine = _table(_checked(path))
    return replace(mine, rent=shipped.rent | mine.rent, buy=shipped.buy | mine.buy)


ABOUT_THE_SAME = 1.25  # how much more a card may cost to stand in another's place


def cards_of_the_price(gpu: GpuSpec, prices: Prices | None = None) -> list[GpuSpec]:
    """Other cards that vLLM runs on and that cost about what this one does or less, rented or else bought; those with most memory first."""
    known = prices or read_prices()
    cards = []
    for card in served():
        rents, buys = (known.rent.get(gpu.name), known.rent.get(card.name)), (known.buy.get(gpu.name), known.buy.get(card.name))
        ours, theirs = rents if all(rents) else buys
        if card.name != gpu.name and ours and theirs and theirs.usd <= ours.usd * ABOUT_THE_SAME:
            cards.append(card)
    return sorted(cards, key=lambda spec: -spec.memory_bytes)


def _shipped() -> PriceFile:
    data = shipped("prices")
    return PriceFile(**data | {"prices": [PriceRow(**row) for row in data["prices"]]})


def _checked(path: Path) -> PriceFile:
    from pydantic import ValidationError

    from planner.catalogue.validation import adapter
    from planner.catalogue.yaml_file import read_yaml

    try:
        file: PriceFile = adapter(PriceFile).validate_python(read_yaml(path, MAX_FILE_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        raise PlannerError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}", "`plan schema prices` says what it holds") from None
    if file.currency.upper() != "USD" and file.in_usd is None:
        raise PlannerError(f"{path}: prices in {file.currency[:20]} cannot be compared with those in USD", "add in_usd: what one of it is worth in US dollars")
    numbers: list[tuple[str, float | None]] = [("in_usd", file.in_usd), ("per_kwh", file.per_kwh)]
    for row in file.prices:
        if (row.rent_per_hour is None) == (row.buy is None):
            raise PlannerError(f"{path}: {row.gpu}: give rent_per_hour or buy", "one line for each price")
        numbers += [(row.gpu, row.rent_per_hour), (row.gpu, row.buy)]
    for name, value in numbers:
        if value is not None and not (isfinite(value) and value > 0):
            raise PlannerError(f"{path}: {name}: {value} is no price", "a number above zero")
    names = [(row, find_gpu(row.gpu).name) for row in file.prices]
    return PriceFile(
        currency=file.currency, in_usd=file.in_usd, per_kwh=file.per_kwh, prices=[replace(row, gpu=name, at=row.at or "your prices") for row, name in names]
    )


def _table(file: PriceFile) -> Prices:
    worth = 1.0 if file.currency.upper() == "USD" else file.in_usd or 1.0
    cheapest: dict[str, dict[str, Price]] = {"rent": {}, "buy": {}}
    for row in file.prices:
        for kind, amount in (("rent", row.rent_per_hour), ("buy", row.buy)):
            if amount is not None:
                price = Price(amount * worth, row.at, row.source, row.date)
                known = cheapest[kind].get(row.gpu)
                cheapest[kind][row.gpu] = price if known is None or price.usd < known.usd else known
    kwh = None if file.per_kwh is None else file.per_kwh * worth
    return Prices(rent=cheapest["rent"], buy=cheapest["buy"], kwh_usd=kwh)


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars (an hour, or once), and who asks for them, seen where and when."""

    usd: float
    at: str
    source: str
    date: str


@dataclass(frozen=True, slots=True)
class Prices:
    """The lowest known price of one GPU by its name, rented for an hour and bought, and of a kilowatt hour."""

    rent: dict[str, Price]
    buy: dict[str, Price]
    kwh_usd: float | None = None
