"""The state of the page: what the address holds, read strictly, and the answer to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import TypeVar
from urllib.parse import urlencode

from planner.catalogue import load
from planner.emit import files_of
from planner.engines import ENGINES
from planner.errors import PlannerError, did_you_mean
from planner.facts.question import HOSTS, ServiceRow, StackRow
from planner.facts.record import dataclass
from planner.questions.command_line import command_line
from planner.questions.fields import FIELDS, MOST_CONTEXT
from planner.questions.plan import Answer, answer_for
from planner.report import view
from planner.report.view import View

T = TypeVar("T")
MOST_TEXT, MOST_DIGITS = 200, 12
LOAD = ("input", "output_tokens", "concurrency")  # what the speed is for

Word = TypeVar("Word", bound=str)


@dataclass(frozen=True, slots=True)
class State:
    """What is asked, as it is typed."""

    gpu: str = "rtx4090"
    count: str = "2"
    model: str = "qwen3-vl-32b-awq"
    context: str = ""
    users: str = ""
    host: str = "server"
    engine: str = ""
    input: str = ""
    output_tokens: str = ""
    concurrency: str = ""

    @property
    def query(self) -> str:
        """The address that holds this state; what is empty is left out."""
        return urlencode({item.name: value for item in fields(self) if (value := getattr(self, item.name))})

    @property
    def command_line(self) -> str:
        """The same question in a terminal."""
        asked = {"gpu": self.gpu, "count": self.count, "model": self.model, "context": self.context, "users": self.users}
        asked |= {"host_kind": self.host if self.host != "server" else "", "engine": self.engine}
        asked |= {name: getattr(self, name) for name in LOAD}
        asked |= {"own_gpus": load.current().gpus_file, "own_models": load.current().models_file}
        return command_line({name: value for name, value in asked.items() if value})


def read_state(query: Mapping[str, str]) -> State:
    """The state that an address holds; what it does not name is as at the first visit, or empty once anything is named. Raises PlannerError."""
    names = {item.name for item in fields(State)}
    if unknown := next((name for name in query if name not in names), None):
        raise PlannerError(f"{unknown[:40]!r} is nothing that is asked here", f"known: {', '.join(sorted(names))}")
    for name, value in query.items():
        if len(value) > MOST_TEXT or any(ord(letter) < 32 for letter in value):
            raise PlannerError(f"{name} is too long, or holds what nobody types")
    if not query:
        return State()
    given = {name: query.get(name, "").strip() for name in names}
    return State(**given | {"count": given["count"] or "1", "host": given["host"] or "server"})


def _whole(name: str, text: str) -> int | None:
    """A number within the bounds of its field. Raises PlannerError."""
    if not text:
        return None
    most = int(FIELDS[name].most or 0)
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS) or not 1 <= int(text) <= most:
        raise PlannerError(f"{name}: {text[:40]!r} is not a whole number from 1 to {most:,}")
    return int(text)


def _context(text: str) -> int | None:
    try:
        tokens = ServiceRow(model="", context=text or None).context_tokens
    except ValueError as error:
        raise PlannerError(f"context: {error}") from None
    if tokens is not None and not 1 <= tokens <= MOST_CONTEXT:
        raise PlannerError(f"context: {text[:40]!r} is not a number of tokens", "128k")
    return tokens


def _known(name: str, value: str, known: Sequence[Word]) -> Word:
    """The word among those known. Raises PlannerError with the nearest ones."""
    for word in known:
        if word == value:
            return word
    raise PlannerError(f"{name} {value[:40]!r} is not known", did_you_mean(value, known))


def row_of(state: State) -> StackRow:
    """The question as the command line asks it, of the catalogue only: the page reads no folder and no Hub. Raises PlannerError."""
    if load.find_model(state.model) is None:
        raise load.unknown_model(state.model)
    host, engine = _known("host", state.host, HOSTS), _known("engine", state.engine, tuple(ENGINES)) if state.engine else None
    service = ServiceRow(
        model=state.model,
        context=_context(state.context),
        users=_whole("users", state.users),
        input=_whole("input", state.input),
        output_tokens=_whole("output_tokens", state.output_tokens),
        concurrency=_whole("concurrency", state.concurrency),
    )
    count = _whole("count", state.count) or 1
    return StackRow(gpu=state.gpu, count=count, host=host, engine=engine, services=[service])


def _once(answer: Callable[[State], T]) -> Callable[[State], T]:
    """The same question is answered once, or refused once, as long as names mean the same."""

    @lru_cache(maxsize=512)
    def known(_: load.Catalogue, state: State) -> T | PlannerError:
        try:
            return answer(state)
        except PlannerError as error:
            return error

    def again(state: State) -> T:
        kept = known(load.current(), state)
        if isinstance(kept, PlannerError):
            raise kept.with_traceback(None)  # else each raising would lengthen it
        return kept

    return again


@_once
def answered(state: State) -> Answer:
    """The answer. Raises PlannerError."""
    return answer_for(row_of(state))


@_once
def file_texts(state: State) -> dict[str, str]:
    """The files of an answer by name."""
    answer = answered(state)
    return files_of(answer.deployment) if answer.starts else {}


@_once
def view_of(state: State) -> View:
    """The answer as it is shown."""
    answer = answered(state)
    names = file_texts(state)
    return view.view_of(answer, names)
