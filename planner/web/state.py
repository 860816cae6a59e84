"""The state of the page: what an address or a form holds, read strictly, and the question it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from typing import TypeVar
from urllib.parse import urlencode

from planner.catalogue import load
from planner.catalogue.names import is_repo_id
from planner.errors import PlannerError
from planner.facts.question import ServiceRow, StackRow
from planner.facts.record import dataclass
from planner.facts.settings import Kind
from planner.questions.asked import row_of as asked_row
from planner.questions.command_line import SETTINGS, command_line
from planner.questions.fields import FIELDS
from planner.questions.stack_file import with_row
from planner.text import redact
from planner.web.fields import BESIDE
from planner.web.jobs import JOBS, PLAN, Job

T = TypeVar("T")
MOST_TEXT = 200
MOST_LETTERS = 20_000
MOST_QUERY_BYTES = 4096
MOST_LINK_BYTES = MOST_QUERY_BYTES - 512
"""Of a question that is told as a link: some room is left for those who add to it."""
_PLAIN = {"host": "server", "purpose": "chat"}  # what a choice is where nobody chose
_WHERE = "the question"


@lru_cache(maxsize=1024)
def _pair(name: str, value: str) -> str:
    """One value of an address: a page has twenty links that differ in one."""
    return urlencode([(name, value)])


@dataclass(frozen=True, slots=True)
class State:
    """What is asked of a job, as it is typed; what is empty, or as where nobody says it, is not there."""

    job: Job
    values: tuple[tuple[str, str], ...] = ()

    def __getitem__(self, name: str) -> str:
        """A value, empty where there is none."""
        return next((value for known, value in self.values if known == name), "")

    @property
    def query(self) -> str:
        """The address that holds this state, empty where it would be too long or hold a secret."""
        query = urlencode(self.values) if self.is_long else "&".join(_pair(name, value) for name, value in self.values)
        text = self[self.job.pasted] if self.job.pasted else ""
        return "" if len(query) > MOST_LINK_BYTES or (text and redact(text) != text) else query

    @property
    def address(self) -> str:
        """The page that asks this, relative to any other."""
        return f"{self.job.path}?{self.query}" if self.query else self.job.path

    @property
    def is_asked(self) -> bool:
        """Whether there is a question: a text is pasted where one is needed."""
        return bool(self[self.job.pasted]) if self.job.pasted else True

    @property
    def is_long(self) -> bool:
        """Whether it holds a text that is read for longer than a keystroke may take, and is not worth keeping."""
        return sum(len(value) for _, value in self.values) > MOST_LETTERS

    def changed(self, **values: str) -> State:
        """The state with other values."""
        return made(self.job, dict(self.values) | values)

    def at(self, job: Job) -> State:
        """As much of this question as another job takes, with what it cannot do without."""
        kept = {name: value for name, value in self.values if name in job.accepts and name not in BESIDE[: 3 * (job.name == PLAN)]}
        if job is self.job:
            return self
        if job.pasted == "command":
            kept.pop("model", None)  # there it is what a client names to a server without one
        if not job.several:
            kept |= {name: kept[name].partition(",")[0] for name in ("count", "model") if name in kept}
        return made(job, {name: job.first[name] for name in job.needs if name in job.first} | kept)

    @property
    def command_line(self) -> str:
        """The same question in a terminal."""
        text, own = self[self.job.pasted] if self.job.pasted else "", load.current()
        given: dict[str, object] = {name: _said(name, value) for name, value in self.values if name not in (*BESIDE, self.job.pasted, "host")}
        given |= {"beside": [self[name] for name in BESIDE if self[name]], "host_kind": self["host"] or None}
        given |= {"own_gpus": own.gpus_file or None, "own_models": own.models_file or None}
        is_short = len(text) <= MOST_TEXT and "\n" not in text and redact(text) == text
        return command_line(given, command=self.job.command, arguments=[text if is_short else "FILE"] if text else [])


def _said(name: str, value: str) -> object:
    setting = SETTINGS.get(name)
    return value == "yes" if setting and setting.kind is Kind.SWITCH else value


def made(job: Job, values: Mapping[str, str]) -> State:
    """A state of what is given, in the order in which a job takes it."""
    return State(job, tuple((name, values[name]) for name in job.accepts if values.get(name) and values[name] != _PLAIN.get(name)))


def first(job: Job) -> State:
    """What a first visit shows."""
    return made(job, job.first)


def read_state(pairs: Iterable[tuple[str, str]], job: Job = JOBS[PLAN]) -> State:
    """The state that an address or a form holds; nothing is the first visit. Raises PlannerError for what is not asked there, and for what stands there twice."""
    values: dict[str, str] = {}
    for name, value in pairs:
        if name not in job.accepts:
            raise PlannerError(
                f"{name[:40]!r} is nothing that is asked here", f"known: {', '.join((*job.shown, *(each for _, group in job.groups for each in group)))}"
            )
        if name in values:
            raise PlannerError(f"{name!r} is given twice; it counts once", "leave one out")
        if name != job.pasted and (len(value) > MOST_TEXT or any(ord(letter) < 32 for letter in value)):
            raise PlannerError(f"{name} is too long, or holds what nobody types")
        values[name] = value.replace("\r\n", "\n").strip()
    return made(job, values) if values else first(job)


def row_of(state: State) -> StackRow:
    """The question as every door asks it, each value checked; names are the catalogue's or the Hub's. Raises PlannerError."""
    given = dict(state.values)
    service, machine = ({item.name: given[item.name] for item in fields(row) if item.name in given} for row in (ServiceRow, StackRow))
    if "model" in state.job.accepts and not state.job.pasted:
        check_model(state["model"])
    try:
        row = asked_row(_WHERE, {"gpu": "any", **machine}, {"model": "any", **service})
        row = replace(row, services=[*row.services, *(with_row(state[name]) for name in BESIDE if state[name])])
    except PlannerError as error:
        raise PlannerError(error.message.removeprefix(f"{_WHERE}: "), error.hint) from None
    if "gpu" in state.job.accepts and not state["gpu"]:
        raise PlannerError("no GPU is named", "--gpu rtx4090")
    for beside in row.services[1:]:
        check_model(beside.model)
    return row


def check_model(name: str) -> None:
    """Refuse what is neither a model of the catalogue nor one that the Hub may have: no file of this machine is read. Raises PlannerError."""
    if load.find_model(name) is None and not is_repo_id(name):
        raise load.unknown_model(name)


def whole(state: State, name: str, otherwise: int) -> int:
    """A whole number within the bounds of its field. Raises PlannerError."""
    return _bounded(state, name, otherwise, lambda text: FIELDS[name].bounded(FIELDS[name].parsed(text)))


def within(state: State, name: str, otherwise: float, least: float, most: float) -> float:
    """A number within bounds. Raises PlannerError."""

    def read(text: str) -> float:
        number = float(text) if text.isascii() else float("nan")
        if not least <= number <= most:  # no NaN is
            raise ValueError(f"expected a number from {least:g} to {most:g}")
        return number

    return _bounded(state, name, otherwise, read)


def _bounded(state: State, name: str, otherwise: T, read: Callable[[str], T]) -> T:
    text = state[name]
    try:
        return read(text) if text else otherwise
    except ValueError as error:
        raise PlannerError(f"{name} is {text[:60]!r}: {str(error) if 'expected' in str(error) else 'that is no number'}") from None
