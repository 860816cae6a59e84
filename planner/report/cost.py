"""What tokens cost, for the terminal: a row for each load and way, the API's beside them. Money is in US dollars."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from planner.facts.speed import Range, significant
from planner.questions.cost import BreakEven, CostAnswer, LoadCost
from planner.report.table import Column, Fitted, Row
from planner.report.text import Piece, Text
from planner.units import tokens

_WAYS: dict[str, str] = {"rent": "rented", "buy": "bought"}
_COLUMNS = (
    Column("load", is_left=True, style="bold"),
    Column("machine", is_left=True),
    Column("$ per million prompt tokens", 0),
    Column("$ per million output tokens", 0),
    Column("$ per 1,000 requests", 1),
    Column("requests/s", 2),
)


def render(answer: CostAnswer) -> list[Piece]:
    """The report: a row for each load and way, the API's, documents, where they are equal, what the figures rest on."""
    plan, speed = answer.plan, answer.speed
    heading = Text().append(plan.model.id, "bold").append(f" {plan.where}")
    lengths = f"Prompts of {tokens(speed.prompt_tokens)} and outputs of {tokens(speed.answer_tokens)} tokens. In brackets the 80 % interval of the speed ({speed.grade}: {speed.because})."
    pieces: list[Piece] = [heading, Text(lengths), Text(), _table(answer), Text(), *_shares(answer)]
    if answer.terms.documents:
        pieces += [Text(), *_documents(answer)]
    if answer.break_even:
        pieces += [Text(), *(_equal(point, answer) for point in answer.break_even)]
    return [*pieces, Text(), *(Text(f"{note[0].upper()}{note[1:]}.", "dim") for note in answer.notes)]


def _table(answer: CostAnswer) -> Fitted:
    rows = []
    for load in _shown(answer):
        rate = load.served.requests_per_s
        for priced, cost in zip(answer.ways, load.costs, strict=True):
            figures = (
                _usd(cost.usd_per_million_prompt_tokens),
                _usd(cost.usd_per_million_output_tokens),
                _usd(Range(*(1000 * usd for usd in _ends(cost.usd_per_request)))),
            )
            rows.append(Row((_name(answer, load), _WAYS[priced.way.kind], *figures, _interval(rate))))
    if api := answer.api:
        relation = {"same": "the same model", "like": "a like model", "named": "as named"}[api.relation]
        request = 1000 * api.usd_per_request(answer.speed.prompt_tokens, answer.speed.answer_tokens)
        who = f"{relation}, {api.model} of {api.provider}" + (f", the cheapest of {api.offers}" if api.offers > 1 else "")
        asked = (f"{significant(usd):g}" for usd in (api.usd_per_million_prompt_tokens, api.usd_per_million_output_tokens, request))
        rows.append(Row(("API", "", *asked, ""), (Text(f"{who}; {api.source}, whose newest price is of {api.date}", "dim"),)))
    return Fitted(_COLUMNS, rows)


def _shown(answer: CostAnswer) -> tuple[LoadCost, ...]:
    """The loads, once where the one that was asked is the full one."""
    asked, full = answer.loads
    return (full,) if asked.served == full.served else answer.loads


def _name(answer: CostAnswer, load: LoadCost) -> str:
    if load.load == "full":
        return f"full, {load.concurrency:,} at once"
    rate = answer.terms.requests_per_s
    if rate is None:
        return f"{load.concurrency:,} at once"
    machines = load.served.machines
    return f"{rate:g} a second, {_interval(machines)} machine{'s' * (machines.conservative > 1)}"


def _shares(answer: CostAnswer) -> Iterator[Text]:
    shares = " and ".join(f"{100 * load.served.prompt_share:.0f} % {'at full load' if load.load == 'full' else 'as asked'}" for load in _shown(answer))
    yield Text(f"Prompts bear the part of the cost that they take of the machine's time: {shares}; outputs the rest.")
    if answer.api_reason:
        yield Text(f"No API's price: {answer.api_reason}.", "yellow")


def _documents(answer: CostAnswer) -> Iterator[Text]:
    count = answer.terms.documents or 0
    for load in _shown(answer):
        assert load.documents_hours is not None  # noqa: S101 - there are documents
        money = ", ".join(f"${_usd(usd)} {_WAYS[priced.way.kind]}" for priced, usd in zip(answer.ways, load.documents_usd, strict=True))
        yield Text(f"{count:,} documents, {_name(answer, load)}: {_interval(load.documents_hours)} hours; {money}.")
    if api := answer.api:
        usd = count * api.usd_per_request(answer.speed.prompt_tokens, answer.speed.answer_tokens)
        yield Text(f"{count:,} documents by the API: ${significant(usd):,g}.")


def _equal(point: BreakEven, answer: CostAnswer) -> Text:
    who = "A rented machine" if point.way == "rent" else "A bought machine"
    if point.requests_per_hour is None or point.share_of_full_load is None:
        return Text(f"Against renting {_pays_off(point.months)}." if point.months else "")
    share = point.share_of_full_load
    text = Text(f"{who} costs what the API does at {significant(point.requests_per_hour):,g} requests in an hour that serves, ")
    if share.optimistic > 1:
        text.append("which is more than it can serve: the API is cheaper at any load.")
    else:
        low, expected, high = (f"{100 * value:.0f}" for value in (share.optimistic, share.expected, share.conservative))
        text.append(f"{expected} % ({low} to {high}) of its full load; above that it is cheaper.")
    return text.append(f" At the asked load {_pays_off(point.months)}." if point.months else "")


def _pays_off(months: Range) -> str:
    """Whether and when a purchase has saved its price."""
    expected, soonest, latest = (
        f"{significant(value):,g} months" if isfinite(value) else "" for value in (months.expected, months.optimistic, months.conservative)
    )
    if not soonest:
        return "buying never pays off"
    if not expected:
        return f"buying does not pay off, at best after {soonest}"
    return f"buying pays off after {expected}" + ("" if soonest == latest else f" ({soonest} at best, {latest or 'never'} at worst)")


def _ends(of: Range) -> tuple[float, float, float]:
    return of.conservative, of.expected, of.optimistic


def _usd(of: Range) -> str:
    return _interval(of)


def _interval(of: Range) -> str:
    """A figure with its ends, the low one first; alone where they are equal."""
    low, high = sorted((of.conservative, of.optimistic))
    middle = f"{significant(of.expected):,g}"
    return middle if low == high else f"{middle} ({significant(low):,g} to {significant(high):,g})"
