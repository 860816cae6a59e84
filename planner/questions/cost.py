"""What a model costs on a machine: tokens, requests and documents at the asked load and at full load, beside an API's price, and where they are equal.

A load is met by users who ask again as soon as they are answered (`concurrency`) or by requests at a rate; full load is as many at once as fit. All
figures are those of the plan's speed, at its three outlooks; money.py says how tokens share the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import cache, partial
from typing import Literal

from planner.catalogue.api_prices import ApiPrice, api_price
from planner.catalogue.load import find_model
from planner.catalogue.prices import Prices, read_prices
from planner.catalogue.resolve import find_plain
from planner.errors import PlannerError, UnmetError
from planner.facts.plan import Plan
from planner.facts.question import StackRow
from planner.facts.record import dataclass
from planner.facts.speed import OUTPUT, PROMPT, NoSpeed, Range, SpeedEstimate
from planner.questions.at_once import most_at_once
from planner.questions.cost_terms import PricedWay, Terms, no_price, notes, priced_ways
from planner.questions.fields import MOST_DOCUMENTS
from planner.questions.money import (
    Served,
    TokenCost,
    Way,
    both,
    each,
    machines_for,
    months_to_pay,
    requests_per_hour_to_equal,
    served_by,
    token_cost,
)
from planner.questions.plan import plan_as_asked
from planner.units import CONTEXT_STEP, round_up


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCost:
    """What one load costs, each way in the order of the answer's."""

    load: Literal["asked", "full"]
    concurrency: int
    served: Served
    costs: tuple[TokenCost, ...]
    tokens_per_s_each: Range
    """What each of those at once sees behind the first token."""
    kv_cache: str
    """The type of the KV cache that holds them, as the engine names it."""
    documents_hours: Range | None
    documents_usd: tuple[Range, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """Where two ways to have tokens cost the same."""

    way: Literal["rent", "buy"]
    against: Literal["api", "rent"]
    requests_per_hour: float | None = None
    """Of an hour that serves: above them the machine is cheaper."""
    share_of_full_load: Range | None = None
    months: Range | None = None
    """Until a purchase has saved its price at the asked load; infinite where it never does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostAnswer:
    """What tokens cost on one machine, beside an API's price or the reason why there is none."""

    plan: Plan
    speed: SpeedEstimate
    ways: tuple[PricedWay, ...]
    loads: tuple[LoadCost, ...]
    terms: Terms
    api: ApiPrice | None
    api_reason: str | None
    break_even: tuple[BreakEven, ...]
    notes: tuple[str, ...]


def cost_of(row: StackRow, terms: Terms, today: date | None = None) -> CostAnswer:
    """The costs of a question about one server. Raises PlannerError where no price or no speed is known, or the load does not fit."""
    today = today or date.today()
    _refuse(row, terms)
    prices = read_prices(terms.prices)
    row = _with_lengths(row)
    plan = _asked(row, row.services[0].concurrency)
    speed = _timed(plan, row)
    ways = _ways(plan, terms, prices)
    full_plan, full_speed = _full(row, plan, speed)
    full_served = _served(full_speed)
    asked_served = _served(speed) if terms.requests_per_s is None else _at_rate(full_served, terms.requests_per_s)
    loads = (
        _load("asked", (plan, speed) if terms.requests_per_s is None else (full_plan, full_speed), asked_served, ways, terms),
        _load("full", (full_plan, full_speed), full_served, ways, terms),
    )
    api = api_price(_names(row, plan), speed.prompt_tokens, speed.answer_tokens, today, terms.api)
    found = api if isinstance(api, ApiPrice) else None
    return CostAnswer(
        plan=plan,
        speed=speed,
        ways=ways,
        loads=loads,
        terms=terms,
        api=found,
        api_reason=None if isinstance(api, ApiPrice) else api,
        break_even=tuple(_break_even(ways, loads, found, terms)),
        notes=tuple(notes(ways, terms, plan.group.gpu, plan.group.count, today)),
    )


def _refuse(row: StackRow, terms: Terms) -> None:
    if terms.requests_per_s is not None and row.services[0].concurrency is not None:
        raise PlannerError("a rate and a concurrency both say what is asked of the machine", "leave --rate or --concurrency out")
    count = terms.documents
    if count is not None and (type(count) is not int or not 1 <= count <= MOST_DOCUMENTS):
        raise PlannerError(f"{str(count)[:40]} documents cannot be counted", f"--documents is a whole number from 1 to {MOST_DOCUMENTS:,}")


def _with_lengths(row: StackRow) -> StackRow:
    """The question with a whole request's length, and a context that holds it where none is asked. Raises PlannerError where the model has none so long."""
    main = row.services[0]
    prompt, output = main.input or PROMPT, main.output_tokens or OUTPUT
    context = main.context
    if context is None and not main.model.endswith(".gguf"):
        limit = find_plain(main.model).spec.max_position_embeddings
        if prompt + output > limit:
            raise PlannerError(f"a prompt of {prompt:,} and an output of {output:,} tokens exceed the model's {limit:,}", "shorten --input or --output-tokens")
        context = min(limit, round_up(prompt + output, CONTEXT_STEP))
    return replace(row, services=[replace(main, input=prompt, output_tokens=output, context=context)])


def _asked(row: StackRow, at_once: int | None) -> Plan:
    """The plan for so many requests at once: an engine that does not count what its cache holds is planned with a slot for each."""
    main = row.services[0]
    plan = plan_as_asked(replace(row, services=[replace(main, concurrency=at_once)]))
    if at_once is None or plan.concurrency is not None:
        return plan
    return plan_as_asked(replace(row, services=[replace(main, concurrency=at_once, users=at_once)]))


def _timed(plan: Plan, row: StackRow) -> SpeedEstimate:
    speed = plan.speed
    if plan.rejection:
        raise UnmetError(f"{plan.model.id} does not start: {plan.rejection.reason}", "plan check and the main command say what would do")
    if isinstance(speed, NoSpeed):
        raise PlannerError(f"what {plan.model.id} costs cannot be told without its speed: {speed.reason}", "docs/speed.md says what was measured")
    if speed.at_once < speed.users:
        _refuse_more_than_fit(plan, row)
    if served_by(speed) is None:
        raise PlannerError(f"what {plan.model.id} costs cannot be told: nothing is known of how long prompts take ({speed.because})", "docs/speed.md")
    return speed


def _refuse_more_than_fit(plan: Plan, row: StackRow) -> None:
    """A concurrency that the server does not hold is refused with the one that it does."""
    main = row.services[0]
    fit = most_at_once(lambda count: _asked(row, count)) if (main.concurrency or 1) > 1 else 0
    if 0 < fit < (main.concurrency or 1):
        tokens = (main.input or PROMPT) + (main.output_tokens or OUTPUT)
        message = f"{fit:,} requests of {tokens:,} tokens surely run at once {plan.where}, and {main.concurrency:,} are asked"
        raise PlannerError(message, f"--concurrency {fit}, or --rate for as many machines as it takes")


def _full(row: StackRow, plan: Plan, asked: SpeedEstimate) -> tuple[Plan, SpeedEstimate]:
    """The server with as many requests as it takes at once, and its speed with them; nothing is said of more than its speed is known for."""
    planned = cache(partial(_asked, row))
    most = most_at_once(planned)
    speed = planned(most).speed if most > asked.users else asked
    if isinstance(speed, NoSpeed) or speed.prompt_share is None:
        return plan, asked
    return (planned(most), speed) if most > asked.users else (plan, asked)


def _served(speed: SpeedEstimate) -> Served:
    served = served_by(speed)
    assert served is not None  # noqa: S101 - `_timed` refuses others
    return served


def _at_rate(full: Served, requests_per_s: float) -> Served:
    """So many requests a second on as many machines as hold them, each at most at full load."""
    return replace(full, requests_per_s=Range(*(requests_per_s,) * 3), machines=machines_for(requests_per_s, full.requests_per_s))


def _ways(plan: Plan, terms: Terms, prices: Prices) -> tuple[PricedWay, ...]:
    gpu = plan.group.gpu
    if not (ways := priced_ways(gpu, plan.group.count, terms, prices)):
        raise PlannerError(no_price(gpu), "--rent-usd-per-hour, --buy-usd (of the whole machine) or --prices FILE")
    return ways


def _load(name: Literal["asked", "full"], server: tuple[Plan, SpeedEstimate], served: Served, ways: Sequence[PricedWay], terms: Terms) -> LoadCost:
    plan, speed = server
    costs = tuple(token_cost(priced.way, served) for priced in ways)
    count = terms.documents
    return LoadCost(
        load=name,
        concurrency=speed.users,
        served=served,
        costs=costs,
        tokens_per_s_each=each(lambda seconds: 1 / seconds, speed.tpot_s),
        kv_cache=plan.cache_type,
        documents_hours=each(lambda rate: count / rate / 3600, served.requests_per_s) if count else None,
        documents_usd=tuple(each(lambda usd: usd * count, cost.usd_per_request) for cost in costs) if count else (),
    )


def _names(row: StackRow, plan: Plan) -> set[str]:
    """What the model is called: in its repositories, or else as it was asked for. A short name of the catalogue may be an API's for another release."""
    entry = find_model(row.services[0].model)
    repos = {variant.repo for variant in entry.row.variants if variant.is_checkpoint} if entry else {row.services[0].model}
    return repos | {plan.model.id}


def _break_even(ways: Sequence[PricedWay], loads: Sequence[LoadCost], api: ApiPrice | None, terms: Terms) -> list[BreakEven]:
    asked, full = loads
    points = []
    by_kind = {priced.way.kind: priced.way for priced in ways}
    if api:
        usd = api.usd_per_request(full.served.prompt_tokens, full.served.output_tokens)
        for way in by_kind.values():
            points.append(_against_api(way, usd, asked.served, full.served))
    if "rent" in by_kind and "buy" in by_kind:
        saved = by_kind["rent"].usd_per_serving_hour - by_kind["buy"].power_usd_per_hour
        months = months_to_pay(by_kind["buy"].usd, saved, terms.utilization)
        points.append(BreakEven(way="buy", against="rent", months=Range(months, months, months)))
    return points


def _against_api(way: Way, usd_per_request: float, asked: Served, full: Served) -> BreakEven:
    """The load at which a machine costs what an API asks, and when one that was bought has saved its price."""
    equal = requests_per_hour_to_equal(way, usd_per_request)
    return BreakEven(
        way=way.kind,
        against="api",
        requests_per_hour=equal,
        share_of_full_load=each(lambda rate: equal / (rate * 3600), full.requests_per_s),
        months=_months_against(way, asked, usd_per_request) if way.kind == "buy" else None,
    )


def _months_against(way: Way, served: Served, usd_per_request: float) -> Range:
    """Months until machines that were bought have saved their price, at what their requests would cost elsewhere."""
    return both(
        lambda rate, count: months_to_pay(way.usd * count, rate * 3600 * usd_per_request - count * way.power_usd_per_hour, way.utilization),
        served.requests_per_s,
        served.machines,
    )
