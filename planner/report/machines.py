"""Machines for a model, as JSON and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from typing_extensions import TypedDict

from planner.catalogue.prices import Price
from planner.engines import ENGINES
from planner.facts.speed import expected_tokens_per_s
from planner.questions.command_line import command_line
from planner.questions.machines import Machine, Need
from planner.questions.question import engine_of
from planner.questions.reasons import machine_reasons
from planner.questions.shortlist import MachinesAnswer
from planner.report.contract_parts import AnswerJson, SpeedJson
from planner.report.head import HEAD
from planner.report.speed import blank_notes, speed_json, speed_reason
from planner.report.table import Column, Fitted, Row, Typed
from planner.report.text import Piece, Text
from planner.report.words import TOLD, at_once, figure, months
from planner.units import counted, tokens


class PriceJson(TypedDict):
    """US dollars of one GPU, who asks for them, seen where and when."""

    usd: float
    at: str
    source: str
    date: str


class MachineJson(TypedDict):
    """GPUs that surely serve the model as asked, and what they cost together."""

    place_reason: str
    """What it costs beside the row above it, and what is had for that."""
    is_slow: bool
    """Whether each user sees less than the floor of speed, or nobody can tell: shown where no machine is known to reach it."""
    gpu: str
    count: int
    model: str
    repo: str
    bits: int
    engine: str
    """Its title."""
    quantization: str | None
    """How the engine quantizes it, None where the checkpoint is as published."""
    command: str
    """The words that plan exactly this."""
    tensor_parallel_size: int
    pipeline_parallel_size: int
    kv_cache_dtype: str
    context: int
    at_once: float
    rent_usd_per_hour: float | None
    buy_usd: float | None
    power_w: int | None
    pays_off_after_months: float | None
    rent: PriceJson | None
    buy: PriceJson | None
    speed: SpeedJson | None
    speed_reason: str | None
    argv: list[str]


class MachinesJson(AnswerJson):
    """The machines for a model, cheapest first, of so many GPUs that could."""

    model: str
    context: int
    users: int
    gpus_that_could: int
    compared: str
    """Which engines were asked, with which weights."""
    machines: list[MachineJson]


def _price(price: Price | None) -> PriceJson | None:
    return {"usd": price.usd, "at": price.at, "source": price.source, "date": price.date} if price else None


def machines_json(answer: MachinesAnswer) -> MachinesJson:
    """The JSON object of the machines for a model."""
    return {
        **HEAD,
        "model": answer.model,
        "context": answer.need.context,
        "users": answer.need.users,
        "gpus_that_could": answer.gpus_that_could,
        "compared": answer.compared,
        "machines": [
            {
                "place_reason": reason,
                "is_slow": machine.is_slow,
                "gpu": machine.gpu.name,
                "count": machine.count,
                "model": machine.stored.name,
                "repo": machine.plan.model.id,
                "bits": machine.stored.bits,
                "engine": ENGINES[machine.plan.engine].title,
                "quantization": machine.stored.form,
                "command": command(machine, answer.need),
                "tensor_parallel_size": _whole(machine, "tensor_parallel_size"),
                "pipeline_parallel_size": _whole(machine, "pipeline_parallel_size"),
                "kv_cache_dtype": machine.plan.cache_type,
                "context": machine.plan.context,
                "at_once": machine.at_once,
                "rent_usd_per_hour": machine.rent_usd_per_hour,
                "buy_usd": machine.buy_usd,
                "power_w": machine.power_w,
                "pays_off_after_months": machine.pays_off_after_months,
                "rent": _price(machine.rent),
                "buy": _price(machine.buy),
                "speed": speed_json(machine.speed),
                "speed_reason": speed_reason(machine.speed),
                "argv": list(machine.plan.service.argv),
            }
            for machine, reason in zip(answer.machines, machine_reasons(answer.machines, answer.need.users), strict=True)
        ],
    }


_MACHINES = (
    Column("#"),
    Column("GPUs", is_left=True, style="bold"),
    Column("an hour"),
    Column("to buy"),
    Column("pays off"),
    Column("tokens/s"),
    Column("users"),
    Column("bits"),
    Column("how", 1, is_left=True),
)


def _whole(machine: Machine, name: str) -> int:
    """A setting that not every engine has, 1 where it has not."""
    value = dict(machine.plan.settings).get(name, 1)
    return value if isinstance(value, int) else 1


def command(machine: Machine, need: Need) -> str:
    """The words that plan this machine."""
    store, engine = machine.stored, machine.plan.engine
    given = {
        "gpu": machine.gpu.name,
        "count": machine.count if machine.count > 1 else None,
        "model": store.name,
        "quantization": store.form,
        "engine": engine if engine != engine_of(None, machine.gpu) else None,
        "context": need.context,
        "users": need.users if need.users > 1 else None,
    }
    return command_line(given)


def money(amount: float | None) -> str:
    """US dollars, with cents below a hundred; nothing where no price is known."""
    return "" if amount is None else f"${amount:,.0f}" if amount >= 100 else f"${amount:.2f}"


def render_machines(answer: MachinesAnswer) -> list[Piece]:
    """The machines for a model, cheapest first, each with the command that plans it."""
    need = answer.need
    users = f"{counted(need.users, 'user')} at full length"
    heading = Text().append(f"Machines for {answer.model}", "bold").append(f", {tokens(need.context)} tokens of context, {users}; cheapest first")
    rows = []
    for place, machine in enumerate(answer.machines, 1):
        saved, rate, engine = machine.pays_off_after_months, expected_tokens_per_s(machine.speed), ENGINES[machine.plan.engine]
        cells = (
            str(place),
            f"{machine.count}x {machine.gpu.name}",
            money(machine.rent_usd_per_hour),
            money(machine.buy_usd),
            "" if saved is None else months(saved),
            "" if rate is None else figure(rate),
            at_once(machine.at_once),
            str(machine.stored.bits),
            f"{engine.title}, {engine.in_short(machine.plan)}",
        )
        rows.append(Row(cells, [Typed(command(machine, need))]))
    return [
        heading,
        Text(),
        Fitted(_MACHINES, rows),
        Text(),
        *(Text(line, "dim") for line in (*_why(answer), *_notes(answer))),
    ]


def _why(answer: MachinesAnswer) -> Iterator[str]:
    told = machine_reasons(answer.machines, answer.need.users)[:TOLD]
    yield from (f"{place}: {reason}." for place, reason in enumerate(told, 1))


def _notes(answer: MachinesAnswer) -> Iterator[str]:
    machines = answer.machines
    if any(machine.is_slow for machine in machines):
        yield f"None is known to reach {figure(answer.need.floor)} tokens/s for each user (--min-speed)."
    yield f"Asked: {answer.compared}."
    yield (
        f"{answer.gpus_that_could} of the catalogue's GPUs could, in the sizes that are rented or sold (`sizes` in prices.yaml:"
        f" consumer cards up to four); {len(machines)} are shown. tokens/s: one user alone."
    )
    prices = [price for machine in machines for price in (machine.rent, machine.buy) if price]
    if seen := sorted({f"{price.at} {price.date}" for price in prices}):
        yield f"Prices of GPUs alone, in US dollars, on demand where nothing else is said: {', '.join(seen)}; sources in prices.yaml, --prices FILE takes your own."
        if old := sum(price.is_old(date.today()) for price in prices):
            yield f"{old} of these {counted(len(prices), 'price')} {'is' if old == 1 else 'are'} older than six months, or may be."
    yield from blank_notes((str(place), machine.speed) for place, machine in enumerate(machines, 1))
    if any(machine.pays_off_after_months for machine in machines):
        yield "Bought GPUs pay off against rented ones after so many months of use day and night" + (
            ", power included." if any(machine.kwh_usd for machine in machines) else ", power not included (per_kwh in your prices)."
        )
