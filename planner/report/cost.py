"""What tokens cost, for the terminal: a row for each load and way, the API's beside them. Money is in US dollars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite

from planner.facts.speed import Range
from planner.questions.cost import BreakEven, CostAnswer, LoadCost
from planner.report.table import Column, Fitted, Row
from planner.report.text import Piece, Text
from planner.report.words import figure, usd
from planner.units import counted, tokens

WAYS: dict[str, str] = {"rent": "rented", "buy": "bought"}
_COLUMNS = (
    Column("load", is_left=True, style="bold"),
    Column("", is_left=True),
    Column("$/M prompt"),
    Column("$/M output"),
    Column("requests/s", 1),
    Column("tokens/s each"),
)


def render(answer: CostAnswer) -> list[Piece]:
    """The report: a row for each load and way, the API's, documents, where they are equal, what the figures rest on."""
    plan, speed = answer.plan, answer.speed
    heading = Text().append(plan.model.id, "bold").append(f" {plan.where}")
    lengths = f"Prompts of {tokens(speed.prompt_tokens)} and outputs of {tokens(speed.answer_tokens)} tokens. Below each row the 80 % interval of the speed ({speed.grade}: {speed.because})."
    pieces: list[Piece] = [heading, Text(lengths), Text(), _table(answer), Text(), *_headings(), *_shares(answer)]
    if answer.terms.documents:
        pieces += [Text(), *_documents(answer)]
    if answer.break_even:
        pieces += [Text(), *(_equal(point, answer) for point in answer.break_even)]
    return [*pieces, Text(), *(Text(f"{note[0].upper()}{note[1:]}.", "dim") for note in answer.notes)]


def _table(answer: CostAnswer) -> Fitted:
    rows = []
    for load in _shown(answer):
        for priced, cost in zip(answer.ways, load.costs, strict=True):
            money = (cost.usd_per_million_prompt_tokens, cost.usd_per_million_output_tokens)
            speeds = (load.served.requests_per_s, load.tokens_per_s_each)
            rows.append(Row((load_name(answer, load), WAYS[priced.way.kind], *(usd(of.expected) for of in money), *(figure(of.expected) for of in speeds))))
            rows.append(Row(("", "", *(_span(of, usd) for of in money), *(_span(of, figure) for of in speeds))))
    if api := answer.api:
        relation = {"same": "the same model", "like": "a like model", "named": "as named"}[api.relation]
        who = f"{relation}, {api.model} of {api.provider}" + (f", the cheapest of {api.offers}" if api.offers > 1 else "")
        asked = (usd(amount) for amount in (api.usd_per_million_prompt_tokens, api.usd_per_million_output_tokens))
        rows.append(Row(("API", "", *asked, "", ""), (Text(f"{who}; {api.source}, whose newest price is of {api.date}", "dim"),)))
    return Fitted(_COLUMNS, rows)


def _headings() -> Iterator[Text]:
    yield Text("$/M: US dollars for a million tokens; tokens/s each: what each of those at once sees.", "dim")


def _shown(answer: CostAnswer) -> tuple[LoadCost, ...]:
    """The loads, once where the one that was asked is the full one."""
    asked, full = answer.loads
    return (full,) if asked.served == full.served and asked.concurrency == full.concurrency else answer.loads


def load_name(answer: CostAnswer, load: LoadCost) -> str:
    """What a load is called: how many at once, or so many a second on so many machines."""
    if load.load == "full":
        return f"full: {load.concurrency:,} at once"
    rate = answer.terms.requests_per_s
    if rate is None:
        return f"{load.concurrency:,} at once"
    machines = load.served.machines
    count = f"{figure(machines.expected)} machine{'s' * (machines.expected != 1)}"
    return f"{rate:,g}/s on {count}"


def _shares(answer: CostAnswer) -> Iterator[Text]:
    shown = _shown(answer)
    at_a_rate = answer.terms.requests_per_s is not None  # every machine of it is at full load
    shares = [
        f"{100 * load.served.prompt_share:.0f} %{'' if len(shown) == 1 or at_a_rate else ' at full load' if load.load == 'full' else ' as asked'}"
        for load in shown
    ]
    yield Text(f"Prompts take {' and '.join(dict.fromkeys(shares))} of the machine's time and bear as much of its cost; outputs the rest.")
    if at_a_rate and (machines := answer.loads[0].served.machines).conservative != machines.optimistic:
        yield Text(f"Machines for {answer.terms.requests_per_s:,g} requests a second: {_interval(machines)}.")
    asked, full = answer.loads
    if full.kv_cache != asked.kv_cache:
        yield Text(f"Full load is with a {full.kv_cache} KV cache, {counted(asked.concurrency, 'request')} at once with a {asked.kv_cache} one.")
    if answer.api_reason:
        yield Text(f"No API's price: {answer.api_reason}.", "yellow")


def _documents(answer: CostAnswer) -> Iterator[Text]:
    count = answer.terms.documents or 0
    for load in _shown(answer):
        assert load.documents_hours is not None  # noqa: S101 - there are documents
        money = ", ".join(f"${_interval(amount)} {WAYS[priced.way.kind]}" for priced, amount in zip(answer.ways, load.documents_usd, strict=True))
        yield Text(f"{counted(count, 'document')}, {load_name(answer, load)}: {_duration(load.documents_hours)}; {money}.")
    if api := answer.api:
        yield Text(f"{counted(count, 'document')} by the API: ${usd(count * api.usd_per_request(answer.speed.prompt_tokens, answer.speed.answer_tokens))}.")


_HOURS = (("months", 730.0), ("days", 24.0), ("hours", 1.0), ("minutes", 1 / 60), ("seconds", 1 / 3600))


def _duration(hours: Range) -> str:
    """A time in the largest unit of which there is one and a half; months only from two on."""
    unit, size = next((pair for pair in _HOURS[1:] if hours.expected >= (2 if pair[0] == "days" else 1.5) * pair[1]), _HOURS[-1])
    return f"{_interval(Range(*(value / size for value in _ends(hours))))} {unit}"


def _equal(point: BreakEven, answer: CostAnswer) -> Text:
    who = "A rented machine" if point.way == "rent" else "A bought machine"
    years = answer.terms.years
    if point.requests_per_hour is None or point.share_of_full_load is None:
        return Text(f"Against renting {_pays_off(point.months, years)}." if point.months else "")
    share = point.share_of_full_load
    text = Text(f"{who} costs what the API does at {figure(point.requests_per_hour)} requests in an hour that serves, ")
    if share.optimistic > 1:
        text.append("which is more than it can serve: the API is cheaper at any load.")
    else:
        low, expected, high = (_percent(value) for value in (share.optimistic, share.expected, share.conservative))
        between = "" if low == high else f" ({low} to {high})"
        text.append(f"{expected} %{between} of its full load; above that it is cheaper.")
    load = "At this load" if len(_shown(answer)) == 1 else "At the asked load"
    return text.append(f" {load} {_pays_off(point.months, years)}." if point.months else "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.1 else figure(100 * share)


def _pays_off(months: Range, years: float) -> str:
    """Whether and when a purchase has saved its price while the machine lasts."""
    last = 12 * years
    expected, soonest, latest = (_months(value) if value <= last else "" for value in (months.expected, months.optimistic, months.conservative))
    if not soonest:
        return "buying never pays off" if not isfinite(months.optimistic) else f"buying does not pay off within {years:g} years (--years)"
    if not expected:
        return f"buying does not pay off within {years:g} years (--years), at best after {soonest}"
    return f"buying pays off after {expected}" + ("" if soonest == latest else f" ({soonest} at best, {latest or f'not within {years:g} years'} at worst)")


def _months(value: float) -> str:
    return f"{figure(value)} month{'' if figure(value) == '1' else 's'}" if value >= 1 else "less than a month"


def _ends(of: Range) -> tuple[float, float, float]:
    return of.conservative, of.expected, of.optimistic


def _span(of: Range, told: Callable[[float], str]) -> str:
    """The ends of a figure, the low one first; empty where they are equal."""
    low, high = sorted((of.conservative, of.optimistic))
    return "" if low == high else f"{told(low)}-{told(high)}"


def _interval(of: Range) -> str:
    """A figure with its ends, the low one first; alone where they are equal."""
    low, high = sorted((of.conservative, of.optimistic))
    return figure(of.expected) if low == high else f"{figure(of.expected)} ({figure(low)} to {figure(high)})"
