"""The answer to each job's question: what is shown of it, its JSON as `plan … --format json` prints it, and its files. All of it only computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from functools import lru_cache
from io import StringIO

from planner.catalogue import load
from planner.catalogue.hub import unasked
from planner.emit import files_of
from planner.engines.causes import MAX_LINE
from planner.errors import PlannerError, UnsupportedError, WorldError
from planner.facts.question import StackRow
from planner.facts.record import dataclass
from planner.facts.verdict import Warn
from planner.questions.asked import group_of, purpose_of, seconds
from planner.questions.capacity import Lengths, Limits
from planner.questions.check_text import check_text
from planner.questions.choose import Wish
from planner.questions.cost import cost_of
from planner.questions.cost_terms import Terms
from planner.questions.elsewhere import other_engines
from planner.questions.explain import explain_log
from planner.questions.fields import MOST_DOCUMENTS, MOST_USD, MOST_WATTS
from planner.questions.plan import answer_for
from planner.questions.replicas import capacity_for
from planner.questions.sessions import MOST_OFFLOAD_GIB, MOST_SUBAGENTS, MOST_TURNS, Session, sessions_for
from planner.questions.shortlist import machines_for, models_for
from planner.questions.side_by_side import Asked, comparisons_of
from planner.questions.trace import MOST_TOKENS
from planner.reader import lines_of, only_texts
from planner.report import sheets
from planner.report.capacity import capacity_json
from planner.report.chosen import models_json
from planner.report.compare_json import comparisons_json
from planner.report.contract import check_json, plan_json
from planner.report.cost_json import cost_json
from planner.report.explained import explain_json
from planner.report.machines import machines_json
from planner.report.proxy import proxy_json
from planner.report.sessions import sessions_json
from planner.report.view import View, check_view, view_of
from planner.web.jobs import PLAN
from planner.web.state import State, row_of, whole, within

MOST_SHOWN, USUAL_SHOWN, MOST_COMPARED = 1000, 10, 16
KEPT = 512
UNASKED = "press the button, or Enter: its config.json is then read from the Hugging Face Hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is shown, what a program reads, the files by their names."""

    view: View
    json: Callable[[], Mapping[str, object]]
    files: Mapping[str, str]


def _answer(view: View, json: Callable[[], Mapping[str, object]], files: Mapping[str, str] | None = None) -> Answer:
    return Answer(view=view, json=json, files=files or {})


def _plan(state: State, says: str = "") -> Answer:
    """The answer; as long as nobody waits for it (`says`: why), other engines are not asked, and what asks them is told."""
    row = row_of(state)
    told = "press the button, or Enter: {} is then asked too" if says == UNASKED else "a page without a server does not ask {} too: choose the engine"
    try:
        answer = answer_for(row, others=not says)
    except UnsupportedError as error:
        if error.hint or not says or not (asked := other_engines((), row, group_of(row))):
            raise
        raise UnsupportedError(error.message, told.format(asked)) from None
    if says and not answer.requirements_met and (asked := other_engines(answer.alternatives, row, answer.main.group)):
        answer = replace(answer, warnings=(*answer.warnings, Warn(code="others-unasked", message=told.format(asked))))
    files = files_of(answer.deployment) if answer.starts else {}
    return _answer(view_of(answer, files), lambda: plan_json(answer, []), files)


def _top(state: State) -> int | None:
    return int(within(state, "top", USUAL_SHOWN, 0, MOST_SHOWN)) or None


def _floor(state: State) -> float | None:
    return within(state, "min_speed", 0, 0, 1e6) if state["min_speed"] else None


def _models(state: State) -> Answer:
    row = row_of(state)
    main, purpose = row.services[0], purpose_of(state["purpose"] or "chat")
    wish = Wish(purpose=purpose, context=main.context_tokens, users=main.users, min_tokens_per_s=_floor(state))
    answer = models_for(group_of(row), wish, engine=row.engine, version=row.vllm_version, top=_top(state))
    return _answer(sheets.models_view(answer), lambda: models_json(answer))


def _machines(state: State) -> Answer:
    main = row_of(state).services[0]
    answer = machines_for(
        state["model"], quantization=main.quantization, context=main.context_tokens, users=main.users, min_tokens_per_s=_floor(state), top=_top(state)
    )
    return _answer(sheets.machines_view(answer), lambda: machines_json(answer))


def _capacity(state: State) -> Answer:
    row = row_of(state)
    lengths = Lengths(prompt=whole(state, "input", 2000), answer=whole(state, "output_tokens", 500))
    limits = Limits(
        first_token_s=seconds("ttft", state["ttft"] or "2s"),
        per_token_s=seconds("tpot", state["tpot"] or "50ms"),
        share=within(state, "percentile", 95.0, 50, 99.9) / 100,
    )
    row = replace(row, services=[replace(row.services[0], input=None, output_tokens=None)])
    if state["turns"]:
        return _sessions(state, row, lengths, limits)
    rate = within(state, "rate", 0, 1e-9, 1e6) if state["rate"] else None
    answer = capacity_for(row, lengths, limits, requests_per_s=rate, counted=bool(state["count"]))
    return _answer(sheets.capacity_view(answer), lambda: capacity_json(answer))


def _sessions(state: State, row: StackRow, lengths: Lengths, limits: Limits) -> Answer:
    if state["rate"]:
        raise PlannerError("rate is of single requests, and turns are of sessions", "users says how many sessions there are")
    session = Session(
        prompt=lengths.prompt,
        answer=lengths.answer,
        tool=int(within(state, "tool_tokens", 500, 1, MOST_TOKENS)),
        turns=int(within(state, "turns", 1, 1, MOST_TURNS)),
        pause_s=seconds("pause", state["pause"] or "5s"),
        subagents=int(within(state, "subagents", 0, 0, MOST_SUBAGENTS)),
        offload_gib=within(state, "kv_offloading_size", 0, 0, MOST_OFFLOAD_GIB),
    )
    answer = sessions_for(row, session, limits)
    return _answer(sheets.sessions_view(answer), lambda: sessions_json(answer))


def _terms(state: State) -> Terms:
    """What is said of money; a form that has no such field says nothing."""

    def amount(name: str, most: float) -> float | None:
        return within(state, name, 0, 1e-12, most) if state[name] else None

    return Terms(
        rent_usd_per_hour=amount("rent_usd_per_hour", MOST_USD),
        buy_usd=amount("buy_usd", MOST_USD),
        years=within(state, "years", 3, 1e-12, 50),
        utilization=within(state, "utilization", 1, 1e-12, 1),
        usd_per_kwh=amount("usd_per_kwh", 1000),
        watts=amount("watts", MOST_WATTS),
        idle_watts=within(state, "idle_watts", 0, 0, MOST_WATTS),
        requests_per_s=amount("rate", 1e6),
        documents=int(within(state, "documents", 1, 1, MOST_DOCUMENTS)) if state["documents"] else None,
        api=state["api"],
    )


def _cost(state: State) -> Answer:
    answer = cost_of(row_of(state), _terms(state))
    return _answer(sheets.cost_view(answer), lambda: cost_json(answer))


def _compare(state: State) -> Answer:
    row = row_of(state.changed(gpu=state["gpu"].partition(",")[0].strip(), count="", model=state["model"].partition(",")[0].strip()))
    main, catalogue = row.services[0], load.current()
    asked = Asked(
        gpus=state["gpu"],
        counts=state["count"] or "1",
        models=state["model"],
        context=main.context_tokens,
        users=main.users,
        host=row.host,
        input=main.input,
        output_tokens=main.output_tokens,
        terms=_terms(state),
    )
    own = {"own_gpus": catalogue.gpus_file or None, "own_models": catalogue.models_file or None}
    comparisons = comparisons_of(asked, own, MOST_COMPARED)
    return _answer(sheets.comparison_view(comparisons), lambda: comparisons_json(comparisons))


def _check(state: State) -> Answer:
    server = int(within(state, "server", 1, 1, 1e6)) if state["server"] else None
    text = state["command"]
    checked = check_text(text, lambda _: row_of(state.changed(model="")), version=state["engine_version"] or None, server=server, model=state["model"])
    plan, proxy = checked.plan, checked.proxy
    if plan is not None:
        return _answer(check_view(plan), lambda: check_json(plan, checked.question))
    assert proxy is not None  # noqa: S101 - one of both is there
    return _answer(sheets.proxy_view(proxy), lambda: proxy_json(proxy))


def _explain(state: State) -> Answer:
    count = whole(state, "count", 0) or None
    explained, gpu = explain_log(lines_of(StringIO(state["log"]).readline, MAX_LINE), gpu=state["gpu"] or None, model=state["model"] or None, count=count)
    return _answer(sheets.explained_view(explained, gpu), lambda: explain_json(explained, gpu.name if gpu else None))


_ASKED: Mapping[str, Callable[[State], Answer]] = {
    "plan": _plan, "stack": _plan, "models": _models, "machines": _machines, "capacity": _capacity, "cost": _cost, "compare": _compare, "check": _check, "explain": _explain,
}  # fmt: skip


@lru_cache(maxsize=KEPT)
def _kept(_: load.Catalogue, state: State, hub: str) -> Answer | PlannerError:
    """The same question is answered once, or refused once, as long as names mean the same; what the network says of it may change."""
    try:
        with only_texts(), unasked(hub):
            return _plan(state, hub) if state.job.name == PLAN else _ASKED[state.job.name](state)
    except WorldError:
        raise
    except PlannerError as error:
        error.__context__ = error.__cause__ = None
        return error.with_traceback(None)  # it would hold all that was computed until then


def answer(state: State, *, hub: str = "") -> Answer:
    """The answer; the Hub is asked for what only it knows unless `hub` says what to do instead. Raises PlannerError."""
    kept = (_kept.__wrapped__ if state.is_long else _kept)(load.current(), state, hub)
    if isinstance(kept, PlannerError):
        raise copy(kept)  # what is raised holds the frames it passed
    return kept
