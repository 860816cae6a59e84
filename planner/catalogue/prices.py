"""What GPUs cost: the prices that ship, and a user's own file, which wins. Money is in US dollars; other currencies say what they are worth.

Of the prices of a GPU the newest count, with those that are at most six months older: of them the lowest is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from datetime import date as day
from math import isfinite
from pathlib import Path

from planner.catalogue.cards import served
from planner.catalogue.load import find_gpu
from planner.catalogue.rows import MachineKind, PriceFile, PriceRow, SizeRow
from planner.catalogue.shipped import shipped
from planner.catalogue.user_file import user_file
from planner.errors import PlannerError
from planner.facts.hardware import GpuSpec
from planner.facts.record import dataclass

MAX_FILE_BYTES = 256 * 1024
CURRENT_MONTHS = 6  # a price that is older is said to be old
_DATE = re.compile(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?")


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
    return replace(mine, rent=shipped.rent | mine.rent, buy=shipped.buy | mine.buy, sizes={**shipped.sizes, **mine.sizes})


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
    return PriceFile(**data | {"prices": [PriceRow(**row) for row in data["prices"]], "sizes": [SizeRow(**row) for row in data["sizes"]]})


def _checked(path: Path) -> PriceFile:
    from pydantic import ValidationError

    from planner.catalogue.validation import adapter
    from planner.catalogue.yaml_file import read_yaml

    data = read_yaml(path, MAX_FILE_BYTES)
    _refuse_currencies(path, data)
    try:
        file: PriceFile = adapter(PriceFile).validate_python(data)
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
    if wrong := next((row for row in file.sizes if not row.counts or min(row.counts) < 1), None):
        raise PlannerError(f"{path}: sizes of {wrong.kind}: {wrong.counts} are no numbers of GPUs", "counts: [1, 2, 4]")
    names = [(row, find_gpu(row.gpu).name) for row in file.prices]
    return replace(file, prices=[replace(row, gpu=name, at=row.at or "your prices") for row, name in names])


def _refuse_currencies(path: Path, data: object) -> None:
    """Refuse a row with a currency of its own: what it is worth in that of the file nobody said."""
    if not isinstance(data, dict):
        return
    rows = data.get("prices")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and "currency" in row:
            about = f"{str(row.get('gpu'))[:40]} is priced in {str(row['currency'])[:20]}, the file in {str(data.get('currency'))[:20]}"
            raise PlannerError(f"{path}: {about}; a file has one currency", "convert the price, and say in_usd for a file that is not in USD")


def _table(file: PriceFile) -> Prices:
    worth = 1.0 if file.currency.upper() == "USD" else file.in_usd or 1.0
    asked: dict[str, dict[str, list[Price]]] = {"rent": {}, "buy": {}}
    for row in file.prices:
        for kind, amount in (("rent", row.rent_per_hour), ("buy", row.buy)):
            if amount is not None:
                asked[kind].setdefault(row.gpu, []).append(Price(amount * worth, row.at, row.source, row.date))
    lowest = {kind: {gpu: lowest_current(prices) for gpu, prices in by_gpu.items()} for kind, by_gpu in asked.items()}
    kwh = None if file.per_kwh is None else file.per_kwh * worth
    return Prices(rent=lowest["rent"], buy=lowest["buy"], kwh_usd=kwh, sizes={row.kind: tuple(sorted(set(row.counts))) for row in file.sizes})


def lowest_current(prices: list[Price]) -> Price:
    """The lowest of a GPU's prices that are no more than six months older than its newest; of a file without dates the lowest of all."""
    newest = max(_month(price.date) for price in prices)
    return min((price for price in prices if newest - _month(price.date) <= CURRENT_MONTHS), key=lambda price: price.usd)


def _month(seen: str) -> int:
    """Months since year 0; a year alone counts as its January, and no date as the oldest."""
    parts = _DATE.match(seen)
    return int(parts[1]) * 12 + int(parts[2] or 1) if parts else 0


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars (an hour, or once), and who asks for them, seen where and when."""

    usd: float
    at: str
    source: str
    date: str

    def months_old(self, today: day) -> int | None:
        """Whole months since it was seen; None where nobody said when."""
        return today.year * 12 + today.month - _month(self.date) if _month(self.date) else None

    def is_old(self, today: day) -> bool:
        """Whether it was seen more than six months ago."""
        months = self.months_old(today)
        return months is not None and months > CURRENT_MONTHS


@dataclass(frozen=True, slots=True)
class Prices:
    """The lowest current price of one GPU by its name, rented for an hour and bought; of a kilowatt hour; which sizes machines have by the kind of their GPUs."""

    rent: dict[str, Price]
    buy: dict[str, Price]
    kwh_usd: float | None = None
    sizes: Mapping[MachineKind, tuple[int, ...]] = field(default_factory=dict)
