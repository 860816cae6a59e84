"""What tokens cost, as JSON (docs/json.md). All money is in US dollars; the dear end of an interval is that of the cautious speed."""

from __future__ import annotations

from math import isfinite
from typing import Literal

from typing_extensions import TypedDict

from planner.facts.speed import Range
from planner.facts.verdict import Grade
from planner.questions.cost import CostAnswer, LoadCost
from planner.questions.cost_terms import PricedWay
from planner.questions.money import TokenCost
from planner.report.contract_parts import AnswerJson
from planner.report.head import HEAD


class FigureJson(TypedDict):
    """A figure between its ends; null where it has none, as months that never come."""

    low: float | None
    expected: float | None
    high: float | None


class PowerJson(TypedDict):
    """What a machine draws: `stated` is its maker's limit of the GPUs, an upper bound; `given` is what the asker said."""

    watts: float
    how: Literal["stated", "given"]
    idle_watts: float
    usd_per_kwh: float


class WayJson(TypedDict):
    """A way to have the machine; price_* say whose price of one GPU it rests on, null where the asker said it."""

    way: Literal["rent", "buy"]
    usd: float
    years: float | None
    utilization: float
    usd_per_serving_hour: float
    power: PowerJson | None
    price_usd: float | None
    price_at: str | None
    price_source: str | None
    price_date: str | None


class WayCostJson(TypedDict):
    """What tokens of one load cost one way."""

    way: Literal["rent", "buy"]
    usd_per_million_prompt_tokens: FigureJson
    usd_per_million_output_tokens: FigureJson
    usd_per_request: FigureJson


class TokenCostJson(WayCostJson):
    """What one way costs at one load."""

    documents_usd: FigureJson | None


class LoadCostJson(TypedDict):
    """One load: the one that was asked for, or as many requests at once as fit."""

    load: Literal["asked", "full"]
    concurrency: int
    machines: FigureJson
    requests_per_s: FigureJson
    prompt_share: float
    tokens_per_s_each: FigureJson
    """What each of those at once sees behind the first token."""
    kv_cache: str
    """The type of the KV cache that holds them, as the engine names it."""
    documents_hours: FigureJson | None
    costs: list[TokenCostJson]


class ApiPriceJson(TypedDict):
    """What an API asks for the same model, one like it or the one that was named."""

    provider: str
    model: str
    relation: Literal["same", "like", "named"]
    offers: int
    usd_per_million_prompt_tokens: float
    usd_per_million_output_tokens: float
    usd_per_request: float
    documents_usd: float | None
    source: str
    date: str


class BreakEvenJson(TypedDict):
    """Where two ways cost the same; null where a figure does not apply."""

    way: Literal["rent", "buy"]
    against: Literal["api", "rent"]
    requests_per_hour: float | None
    share_of_full_load: FigureJson | None
    months: FigureJson | None


class CostJson(AnswerJson):
    """The answer of `plan cost`."""

    model: str
    gpu: str
    count: int
    engine: str
    prompt_tokens: int
    output_tokens: int
    rate: float | None
    documents: int | None
    grade: Grade
    because: str
    ways: list[WayJson]
    loads: list[LoadCostJson]
    api: ApiPriceJson | None
    api_reason: str | None
    break_even: list[BreakEvenJson]
    notes: list[str]


def figure_json(of: Range) -> FigureJson:
    """A figure between its ends, the low one first."""
    low, high = sorted((of.conservative, of.optimistic))
    return {"low": _finite(low), "expected": _finite(of.expected), "high": _finite(high)}


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _maybe(of: Range | None) -> FigureJson | None:
    return figure_json(of) if of else None


def way_json(priced: PricedWay) -> WayJson:
    """A way to have the machine, and whose price it is."""
    way, price = priced.way, priced.price
    power = way.power
    return {
        "way": way.kind,
        "usd": way.usd,
        "years": way.years if way.kind == "buy" else None,
        "utilization": way.utilization,
        "usd_per_serving_hour": way.usd_per_serving_hour,
        "power": {"watts": power.watts, "how": power.how, "idle_watts": power.idle_watts, "usd_per_kwh": power.usd_per_kwh} if power else None,
        "price_usd": price.usd if price else None,
        "price_at": price.at if price else None,
        "price_source": price.source if price else None,
        "price_date": price.date if price else None,
    }


def way_cost_json(priced: PricedWay, cost: TokenCost) -> WayCostJson:
    """What tokens cost one way."""
    return {
        "way": priced.way.kind,
        "usd_per_million_prompt_tokens": figure_json(cost.usd_per_million_prompt_tokens),
        "usd_per_million_output_tokens": figure_json(cost.usd_per_million_output_tokens),
        "usd_per_request": figure_json(cost.usd_per_request),
    }


def _load(answer: CostAnswer, load: LoadCost) -> LoadCostJson:
    documents = load.documents_usd or (None,) * len(load.costs)
    return {
        "load": load.load,
        "concurrency": load.concurrency,
        "machines": figure_json(load.served.machines),
        "requests_per_s": figure_json(load.served.requests_per_s),
        "prompt_share": load.served.prompt_share,
        "tokens_per_s_each": figure_json(load.tokens_per_s_each),
        "kv_cache": load.kv_cache,
        "documents_hours": _maybe(load.documents_hours),
        "costs": [{**way_cost_json(priced, cost), "documents_usd": _maybe(usd)} for priced, cost, usd in zip(answer.ways, load.costs, documents, strict=True)],
    }


def cost_json(answer: CostAnswer) -> CostJson:
    """The JSON object of `plan cost`."""
    speed, api, documents = answer.speed, answer.api, answer.terms.documents
    request = api.usd_per_request(speed.prompt_tokens, speed.answer_tokens) if api else 0.0
    return {
        **HEAD,
        "model": answer.plan.model.id,
        "gpu": answer.plan.group.gpu.name,
        "count": answer.plan.group.count,
        "engine": answer.plan.engine,
        "prompt_tokens": speed.prompt_tokens,
        "output_tokens": speed.answer_tokens,
        "rate": answer.terms.requests_per_s,
        "documents": documents,
        "grade": speed.grade,
        "because": speed.because,
        "ways": [way_json(priced) for priced in answer.ways],
        "loads": [_load(answer, load) for load in answer.loads],
        "api": {
            "provider": api.provider,
            "model": api.model,
            "relation": api.relation,
            "offers": api.offers,
            "usd_per_million_prompt_tokens": api.usd_per_million_prompt_tokens,
            "usd_per_million_output_tokens": api.usd_per_million_output_tokens,
            "usd_per_request": request,
            "documents_usd": request * documents if documents else None,
            "source": api.source,
            "date": api.date,
        }
        if api
        else None,
        "api_reason": answer.api_reason,
        "break_even": [
            {
                "way": point.way,
                "against": point.against,
                "requests_per_hour": point.requests_per_hour,
                "share_of_full_load": _maybe(point.share_of_full_load),
                "months": _maybe(point.months),
            }
            for point in answer.break_even
        ],
        "notes": list(answer.notes),
    }
