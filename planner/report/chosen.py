"""Models for a machine and machines for a model, as JSON and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from typing_extensions import TypedDict

from planner.catalogue.prices import Price
from planner.facts.speed import expected_tokens_per_s, significant
from planner.facts.verdict import Verdict
from planner.questions.choose import DOUBLING_MONTHS
from planner.questions.machines import Machine
from planner.questions.shortlist import MachinesAnswer, ModelsAnswer
from planner.report.contract_parts import AnswerJson, SpeedJson
from planner.report.head import HEAD
from planner.report.speed import blank_notes, speed_json, speed_reason
from planner.report.table import Column, Fitted, Row
from planner.report.text import Piece, Text
from planner.units import tokens


class ChosenJson(TypedDict):
    """A model's best variant on the machine; bytes are of one GPU, `at_once` and contexts with conservative figures."""

    model: str
    repo: str
    arguments: str
    bits: int
    parameters: int
    active_parameters: int
    released: str
    released_at_least: bool
    strength: float
    verdict: Verdict
    requirements_met: bool
    meets_wish: bool
    """As `requirements_met`, which replaces it; it goes with schema 3."""
    context: int
    longest_context: int
    at_once: float
    weights_bytes: int
    engine: str
    """Its title."""
    settings: str
    reason: str
    """What kept the ways that were tried before it, less quantized or by another engine, from being taken."""
    speed: SpeedJson | None
    speed_reason: str | None


class ModelsJson(AnswerJson):
    """The models for a machine, best first."""

    gpu: str
    count: int
    purpose: str
    context: int | None
    users: int | None
    models: list[ChosenJson]


class PriceJson(TypedDict):
    """US dollars of one GPU, who asks for them, seen where and when."""

    usd: float
    at: str
    source: str
    date: str


class MachineJson(TypedDict):
    """GPUs that surely serve the model as asked, and what they cost together."""

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


def models_json(answer: ModelsAnswer) -> ModelsJson:
    """The JSON object of the models for a machine."""
    group, wish = answer.group, answer.wish
    return {
        **HEAD,
        "gpu": group.gpu.name,
        "count": group.count,
        "purpose": wish.purpose,
        "context": wish.context,
        "users": wish.users,
        "models": [
            {
                "model": model.offer.name,
                "repo": model.fit.repo,
                "arguments": model.fit.arguments,
                "bits": model.bits,
                "parameters": model.offer.parameters,
                "active_parameters": model.active_parameters,
                "released": model.offer.released,
                "released_at_least": model.offer.released_at_least,
                "strength": significant(model.strength),
                "verdict": model.fit.verdict,
                "requirements_met": model.meets,
                "meets_wish": model.meets,
                "context": model.fit.context,
                "longest_context": model.fit.longest_context,
                "at_once": model.fit.at_once,
                "weights_bytes": model.fit.weights_bytes,
                "engine": model.fit.engine,
                "settings": model.fit.settings,
                "reason": model.reason,
                "speed": speed_json(model.fit.speed),
                "speed_reason": speed_reason(model.fit.speed),
            }
            for model in answer.models
        ],
    }


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
            for machine in answer.machines
        ],
    }


def _billions(parameters: int, active: int) -> str:
    total = f"{parameters / 1e9:.3g}B"
    return total if active > 0.8 * parameters else f"{total}, {active / 1e9:.2g} active"


def _at_once(count: float) -> str:
    return f"{count:.1f}" if count < 100 else f"{count:.0f}"


_MODELS = (
    Column("#"),
    Column("plan this", is_left=True),
    Column("context", 1),
    Column("users", 2),
    Column("tokens/s", 2),
    Column("bits", 3),
    Column("parameters", 5),
    Column("released", 6),
    Column("longest context", 7),
    Column("how", 4, is_left=True),
)
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


def render_models(answer: ModelsAnswer) -> list[Piece]:
    """The models for a machine, and why in this order."""
    group, wish = answer.group, answer.wish
    users = f", {wish.users} users" if wish.users else ""
    heading = Text().append(f"Models for {group.label}", "bold").append(f", for {wish.purpose}{users}; best first")
    rows = []
    for place, model in enumerate(answer.models, 1):
        fit, rate = model.fit, expected_tokens_per_s(model.fit.speed)
        cells = (
            str(place),
            Text(fit.arguments, "bold" if fit.verdict is Verdict.STARTS else "yellow"),
            tokens(fit.context),
            _at_once(fit.at_once),
            "" if rate is None else f"{rate:g}",
            str(model.bits),
            _billions(model.offer.parameters, model.active_parameters),
            f"{model.offer.released}{' or later' if model.offer.released_at_least else ''}",
            tokens(fit.longest_context),
            f"{fit.engine}, {fit.settings}"
            + ("" if fit.verdict is Verdict.STARTS else f"; {fit.verdict.words}")
            + ("" if model.meets else "; less than asked"),
        )
        rows.append(Row(cells))
    order = (
        f"Order: what surely starts as asked; then the geometric mean of all and of active parameters, doubled for every {DOUBLING_MONTHS} months"
        " of a later release; then speed. Users: requests of the context that surely fit at once. Of one model the least quantized way that does what is asked, by the engine named first in `plan --help`. Not a benchmark: docs/choosing.md."
    )
    blank = blank_notes((str(place), model.fit.speed) for place, model in enumerate(answer.models, 1))
    why = (f"{place}: {model.reason}." for place, model in enumerate(answer.models[:_TOLD], 1) if model.reason)
    return [heading, Text(), Fitted(_MODELS, rows), Text(), *(Text(line, "dim") for line in (*why, order, *answer.notes, *blank))]


_TOLD = 3  # places whose reason is told


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
            _at_once(machine.plan.choice.conservative.max_concurrency),
            _money(machine.buy_usd),
            f"{machine.power_w:,}" if machine.power_w else "",
            "" if months is None else f"{significant(months):g} months",
            machine.stored.name,
            split + (", FP8 KV cache" if config.kv_cache_dtype != "auto" else ""),
        )
        rows.append(Row(cells))
    return [heading, Text(), Fitted(_MACHINES, rows), Text(), *(Text(line, "dim") for line in _notes(answer.machines, answer.gpus_that_could))]


def _notes(machines: Sequence[Machine], could: int) -> Iterator[str]:
    yield f"{could} of the catalogue's GPUs could, alone or up to eight of a kind; {len(machines)} are shown. tokens/s: one user alone."
    seen = sorted({f"{price.at} {price.date}" for machine in machines for price in (machine.rent, machine.buy) if price})
    if seen:
        yield f"Prices of GPUs alone, in US dollars: {', '.join(seen)}; sources in prices.yaml, --prices FILE takes your own."
    yield from blank_notes((str(place), machine.speed) for place, machine in enumerate(machines, 1))
    if any(machine.pays_off_after_months for machine in machines):
        yield "Bought GPUs pay off against rented ones after so many months of use day and night" + (
            ", power included." if any(machine.kwh_usd for machine in machines) else ", power not included (per_kwh in your prices)."
        )
