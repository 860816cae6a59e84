"""Machines for a model, as JSON and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from typing_extensions import TypedDict

from planner.catalogue.prices import Price
from planner.facts.speed import expected_tokens_per_s, significant
from planner.questions.machines import Machine
from planner.questions.reasons import machine_reasons
from planner.questions.shortlist import MachinesAnswer
from planner.report.contract_parts import AnswerJson, SpeedJson
from planner.report.head import HEAD
from planner.report.speed import blank_notes, speed_json, speed_reason
from planner.report.table import Column, Fitted, Row
from planner.report.text import Piece, Text
from planner.report.words import TOLD, at_once
from planner.units import tokens


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
        "machines": [
            {
                "place_reason": reason,
                "is_slow": machine.is_slow,
                "gpu": machine.plan.request.group.gpu.name,
                "count": machine.count,
                "model": machine.stored.name,
                "repo": machine.stored.repo,
                "bits": machine.stored.bits,
                "tensor_parallel_size": machine.plan.config.tensor_parallel_size,
                "pipeline_parallel_size": machine.plan.config.pipeline_parallel_size,
                "kv_cache_dtype": machine.plan.config.kv_cache_dtype,
                "context": machine.plan.config.max_model_len,
                "at_once": machine.plan.choice.conservative.max_concurrency,
                "rent_usd_per_hour": machine.rent_usd_per_hour,
                "buy_usd": machine.buy_usd,
                "power_w": machine.power_w,
                "pays_off_after_months": machine.pays_off_after_months,
                "rent": _price(machine.rent),
                "buy": _price(machine.buy),
                "speed": speed_json(machine.speed),
                "speed_reason": speed_reason(machine.speed),
                "argv": list(machine.plan.argv),
            }
            for machine, reason in zip(answer.machines, machine_reasons(answer.machines, answer.need.users), strict=True)
        ],
    }


_MACHINES = (
    Column("#"),
    Column("GPUs", is_left=True, style="bold"),
    Column("rent an hour", 1),
    Column("tokens/s", 2),
    Column("users", 2),
    Column("to buy", 4),
    Column("watts", 6),
    Column("pays off after", 5),
    Column("weights", 2, is_left=True),
    Column("how", 3, is_left=True),
)


def _money(amount: float | None) -> str:
    return "" if amount is None else f"${amount:,.0f}" if amount >= 100 else f"${amount:.2f}"


def render_machines(answer: MachinesAnswer) -> list[Piece]:
    """The machines for a model, cheapest first."""
    need = answer.need
    heading = (
        Text()
        .append(f"Machines for {answer.model}", "bold")
        .append(f", {tokens(need.context)} tokens of context, {need.users} users at full length; cheapest first")
    )
    rows = []
    for place, machine in enumerate(answer.machines, 1):
        config, months, rate = machine.plan.config, machine.pays_off_after_months, expected_tokens_per_s(machine.speed)
        split = f"tp {config.tensor_parallel_size}" + (f" x pp {config.pipeline_parallel_size}" if config.pipeline_parallel_size > 1 else "")
        cells = (
            str(place),
            f"{machine.count}x {machine.plan.request.group.gpu.name}",
            _money(machine.rent_usd_per_hour),
            "" if rate is None else f"{rate:g}",
            at_once(machine.plan.choice.conservative.max_concurrency),
            _money(machine.buy_usd),
            f"{machine.power_w:,}" if machine.power_w else "",
            "" if months is None else f"{significant(months):g} months",
            machine.stored.name,
            split + (", FP8 KV cache" if config.kv_cache_dtype != "auto" else ""),
        )
        rows.append(Row(cells))
    return [
        heading,
        Text(),
        Fitted(_MACHINES, rows),
        Text(),
        *(Text(line, "dim") for line in (*_why(answer), *_notes(answer.machines, answer.gpus_that_could))),
    ]


def _why(answer: MachinesAnswer) -> Iterator[str]:
    told = machine_reasons(answer.machines, answer.need.users)[:TOLD]
    yield from (f"{place}: {reason}." for place, reason in enumerate(told, 1))


def _notes(machines: Sequence[Machine], could: int) -> Iterator[str]:
    if any(machine.is_slow for machine in machines):
        yield "None is known to reach the floor of speed for each user (--min-speed)."
    yield f"{could} of the catalogue's GPUs could, in the sizes that are rented or sold (`sizes` in prices.yaml: consumer cards up to four); {len(machines)} are shown. tokens/s: one user alone."
    seen = sorted({f"{price.at} {price.date}" for machine in machines for price in (machine.rent, machine.buy) if price})
    if seen:
        yield f"Prices of GPUs alone, in US dollars: {', '.join(seen)}; sources in prices.yaml, --prices FILE takes your own."
        if old := sum(price.is_old(date.today()) for machine in machines for price in (machine.rent, machine.buy) if price):
            yield f"{old} of these prices are older than six months."
    yield from blank_notes((str(place), machine.speed) for place, machine in enumerate(machines, 1))
    if any(machine.pays_off_after_months for machine in machines):
        yield "Bought GPUs pay off against rented ones after so many months of use day and night" + (
            ", power included." if any(machine.kwh_usd for machine in machines) else ", power not included (per_kwh in your prices)."
        )
