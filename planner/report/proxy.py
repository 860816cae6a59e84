"""What a check says of a proxy, as JSON and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import TypedDict

from planner.facts.verdict import Verdict
from planner.questions.proxy.judge import TITLE, VERSION, ProxyAnswer
from planner.report.contract_parts import AnswerJson, ProblemJson, WarningJson
from planner.report.head import HEAD
from planner.report.table import Column, Grid
from planner.report.text import Piece, Text


class ProxyJson(TypedDict):
    """The proxy that was judged, by the rules of a release."""

    name: str
    version: str


class RouteJson(TypedDict):
    """One route: the name that clients ask for, the provider and model behind it, its address, and whether it can answer."""

    name: str
    model: str
    api_base: str
    answers: bool


class ProxyCheckJson(AnswerJson):
    """The answer about a proxy's configuration: `problems` keep it from starting, or a route from answering."""

    verdict: Verdict
    headline: str
    proxy: ProxyJson
    problems: list[ProblemJson]
    routes: list[RouteJson]
    warnings: list[WarningJson]


def proxy_json(answer: ProxyAnswer) -> ProxyCheckJson:
    """The JSON object of a judged configuration."""
    return {
        **HEAD,
        "verdict": answer.verdict,
        "headline": _words(answer),
        "proxy": {"name": TITLE, "version": VERSION},
        "problems": [{"code": problem.code, "message": problem.message, "fix": problem.fix} for problem in answer.problems],
        "routes": [{"name": route.name, "model": route.model, "api_base": route.api_base, "answers": not route.faults} for route in answer.routes],
        "warnings": [{"code": warning.code, "message": warning.message} for warning in answer.warnings],
    }


def _words(answer: ProxyAnswer) -> str:
    """The verdict in words."""
    silent = sum(bool(route.faults) for route in answer.routes)
    if answer.verdict is Verdict.DOES_NOT_START:
        return "does not start"
    return "starts" if not silent else f"starts, {silent} of {len(answer.routes)} routes can't answer"


def render_proxy(answer: ProxyAnswer) -> list[Piece]:
    """The report."""
    style = "bold red" if answer.problems else "bold green"
    pieces: list[Piece] = [Text().append(answer.config or "its own flags", "bold").append(f" with {TITLE} {VERSION}: ").append(_words(answer), style)]
    for problem in answer.problems:
        pieces += [Text(f"x {problem.code}: {problem.message}", "red"), Text("  fix: ").append(problem.fix, "bold")]
    return [*pieces, *_rest(answer)]


def _rest(answer: ProxyAnswer) -> Iterator[Piece]:
    columns = (Column("route", is_left=True), Column("model", is_left=True), Column("server", is_left=True), Column("", is_left=True))
    rows = [(route.name, route.model, route.api_base or "the provider's", "can't answer" if route.faults else "") for route in answer.routes]
    if rows:
        yield from (Text(), Grid(columns, rows))
    if answer.warnings:
        yield Text()
        yield from (Text(f"! {warning.message}", "yellow") for warning in answer.warnings)
