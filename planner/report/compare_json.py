"""Runtimes side by side, as JSON (docs/json.md). All money is in US dollars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Literal

from typing_extensions import TypedDict

from planner.facts.verdict import Verdict
from planner.questions.comparison import Compared, Comparison, RowLoad, leads
from planner.questions.comparison_money import Cheapest, Dearer, Offer, cheapest_of
from planner.questions.cost_terms import no_price
from planner.questions.money import token_cost
from planner.report.compare import command
from planner.report.contract_parts import AnswerJson
from planner.report.cost_json import FigureJson, WayCostJson, WayJson, figure_json, way_cost_json, way_json
from planner.report.head import HEAD


class RuntimeJson(TypedDict):
    """One runtime's answer; where it cannot serve the model here `refusal` says why and the rest is empty. Bytes are of the fullest GPU."""

    engine: str
    quantization: str
    verdict: Verdict | Literal[""]
    context: int
    users: float
    used_bytes: int
    available_bytes: int
    tokens_per_s: float | None
    speed_reason: str | None
    layers_on_cpu: int
    layers: int
    host_bytes: int
    """Of main memory."""
    kv_cache: str
    """The type of its KV cache, as the engine names it."""
    requirements_met: bool
    agent_safe: Literal["yes", "partly", "no", ""]
    agent_note: str
    steps: list[str]
    refusal: str
    bits: int
    arguments: str
    longest_context: int
    users_context: int
    users_held: int
    users_kv_cache: str
    """With which cache: one of 16 bits for every runtime, or its own where that holds fewer than asked."""
    total_tokens_per_s: float | None
    loads: list[RowLoadJson]
    """The asked one, where users were asked, then as many as it holds; of what does not surely do what is asked none."""
    cost_reason: str | None
    """Why it has none."""


class BestJson(TypedDict):
    """What is best for something: the value that is reached, and the commands of those that reach it."""

    what: str
    value: float
    commands: list[str]


class RowLoadJson(TypedDict):
    """What a row serves at one load, and what its tokens cost, each way as in `ways`."""

    load: Literal["asked", "full"]
    concurrency: int
    prompt_tokens: int
    output_tokens: int
    kv_cache: str
    requests_per_s: FigureJson
    costs: list[WayCostJson]


class ComparisonJson(TypedDict):
    """One model on one machine under every runtime; what surely starts and is best for what."""

    gpu: str
    count: int
    model: str
    ways: list[WayJson]
    price_reason: str | None
    """Why there are none."""
    notes: list[str]
    runtimes: list[RuntimeJson]
    best: list[BestJson]


class OneComparisonJson(AnswerJson, ComparisonJson):
    """The answer of `plan compare` about one machine and one model."""


class ComparedMachineJson(TypedDict):
    """One of the machines and models that were compared."""

    gpu: str
    count: int
    model: str


class LeadJson(TypedDict):
    """Where the most is reached of all of them (of money the least), and how many times what the best of the others does; null where they reach nothing, or all the same."""

    what: str
    value: float
    on: list[ComparedMachineJson]
    times_the_next: float | None


class OfferJson(ComparedMachineJson):
    """A machine with the runtime that serves tokens there for least; prices of tokens are null where no speed is known."""

    engine: str
    quantization: str
    usd_per_serving_hour: float
    usd_per_million_output_tokens: FigureJson | None
    usd_per_million_output_tokens_full_load: FigureJson | None


class GainJson(TypedDict):
    """What a dearer machine has more of than the cheapest, and how many times as much."""

    what: str
    value: float
    times: float


class DearerJson(OfferJson):
    """A machine that costs more than the cheapest, and what that buys."""

    times_the_price: float
    buys: list[GainJson]


class CheapestJson(TypedDict):
    """What money decides of the machines that surely do what is asked and have such a price; `unpriced` do and have none."""

    way: Literal["rent", "buy"]
    cheapest: OfferJson
    dearer: list[DearerJson]
    unpriced: list[ComparedMachineJson]


class ComparisonsJson(AnswerJson):
    """The answer of `plan compare` about several machines or models."""

    comparisons: list[ComparisonJson]
    conclusion: list[LeadJson]
    money: list[CheapestJson]


def comparisons_json(comparisons: Sequence[Comparison]) -> Mapping[str, object]:
    """The JSON object of `plan compare`: one comparison, or several and what they come to."""
    answers = [comparison_json(comparison) for comparison in comparisons]
    if len(answers) == 1:
        return {**HEAD, **answers[0]}
    return {**HEAD, "comparisons": answers, "conclusion": conclusion_json(comparisons), "money": [_cheapest(each) for each in cheapest_of(comparisons)]}


def comparison_json(comparison: Comparison) -> ComparisonJson:
    """The JSON object of one machine."""
    return {
        "gpu": comparison.gpu.name,
        "count": comparison.count,
        "model": comparison.model,
        "ways": [way_json(priced) for priced in comparison.ways],
        "price_reason": None if comparison.ways else no_price(comparison.gpu),
        "notes": list(comparison.notes),
        "runtimes": [_runtime(row, comparison) for row in comparison.rows],
        "best": [{"what": best.what, "value": best.value, "commands": [command(comparison, best, row) for row in best.rows]} for best in comparison.best],
    }


_OWN = ("loads", "no_cost")  # of a row, what its JSON says in its own way


def _runtime(row: Compared, comparison: Comparison) -> RuntimeJson:
    said = {field.name: getattr(row, field.name) for field in fields(Compared) if field.name not in _OWN}
    return {**said, "loads": [_load(load, comparison) for load in row.loads], "cost_reason": row.no_cost or None}  # type: ignore[typeddict-item]  # the schema is the dataclass's


def _load(load: RowLoad, comparison: Comparison) -> RowLoadJson:
    served = load.served
    return {
        "load": load.load,
        "concurrency": load.concurrency,
        "prompt_tokens": served.prompt_tokens,
        "output_tokens": served.output_tokens,
        "kv_cache": load.kv_cache,
        "requests_per_s": figure_json(served.requests_per_s),
        "costs": [way_cost_json(priced, token_cost(priced.way, served)) for priced in comparison.ways],
    }


def conclusion_json(comparisons: Sequence[Comparison]) -> list[LeadJson]:
    """Which of several machines and models is best for what."""
    return [
        {
            "what": lead.what,
            "value": lead.value,
            "on": [_machine(first) for first in lead.first],
            "times_the_next": round(lead.times, 3) or None,
        }
        for lead in leads(comparisons)
    ]


def _machine(comparison: Comparison) -> ComparedMachineJson:
    return {"gpu": comparison.gpu.name, "count": comparison.count, "model": comparison.model}


def _cheapest(cheapest: Cheapest) -> CheapestJson:
    return {
        "way": cheapest.kind,
        "cheapest": _offer(cheapest.offer),
        "dearer": [_dearer(each) for each in cheapest.dearer],
        "unpriced": [_machine(comparison) for comparison in cheapest.unpriced],
    }


def _offer(offer: Offer) -> OfferJson:
    tokens, full = offer.usd_per_million_output_tokens, offer.full_usd_per_million_output_tokens
    return {
        **_machine(offer.comparison),
        "engine": offer.row.engine,
        "quantization": offer.row.quantization,
        "usd_per_serving_hour": offer.usd_per_serving_hour,
        "usd_per_million_output_tokens": figure_json(tokens) if tokens else None,
        "usd_per_million_output_tokens_full_load": figure_json(full) if full else None,
    }


def _dearer(dearer: Dearer) -> DearerJson:
    gains: list[GainJson] = [{"what": gain.what, "value": gain.value, "times": round(gain.times, 3)} for gain in dearer.buys]
    return {**_offer(dearer.offer), "times_the_price": round(dearer.times_the_price, 3), "buys": gains}
