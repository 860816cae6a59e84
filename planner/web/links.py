"""Links that ask the page again: from the words of a change or a hint to the address of the question they mean."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import replace

from planner.engines import ENGINES
from planner.errors import PlannerError
from planner.questions.fields import FIELDS
from planner.web.state import LOAD, State, row_of

_FIELDS = {"--gpu": "gpu", "--count": "count", "--model": "model", "--context": "context", "--users": "users", "--host": "host", "--engine": "engine"}
_FIELDS |= {FIELDS[name].flag: name for name in LOAD}
_OWN = ("--gpus", "--models")  # the files that the page was started with count anyway


def state_after(state: State, words: str) -> State | None:
    """The question that the words ask: a whole `plan …`, or options that change this one; None where the page has no field for one of them."""
    try:
        parts = shlex.split(words)
    except ValueError:
        return None
    if parts[:1] == ["plan"]:
        parts, values = parts[1:], {"gpu": "", "count": "1", "model": ""}
    else:
        values = {name: getattr(state, name) for name in _FIELDS.values()}
    if not parts or len(parts) % 2:
        return None
    for flag, value in zip(parts[::2], parts[1::2], strict=True):
        if flag in _OWN:
            continue
        if flag not in _FIELDS:
            return None
        values[_FIELDS[flag]] = value
    return State(**values)


def link(state: State, words: str) -> str:
    """The address that asks so; empty where the page cannot."""
    after = state_after(state, words)
    return f"/?{after.query}" if after and after != state else ""


def changes(state: State, names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The address of each change's words, where the page has one."""
    return {words: link(state, words) for _, words in names}


def nearest(state: State, error: PlannerError, names: dict[str, Iterable[str]]) -> list[tuple[str, str]]:
    """What a fault's hint names, with its address: known names in place of the unknown one, or options. Only what is then understood is offered."""
    known: dict[str, set[str]] = {name: set(choices) for name, choices in names.items()} | {"engine": set(ENGINES)}
    words = list(dict.fromkeys(word.rstrip(".") for word in re.findall(r"[\w.\-]+", error.hint)))
    tried: list[tuple[str, State]] = []
    for field, choices in known.items():
        if getattr(state, field) in choices:
            continue
        tried += [(word, replace(state, **{field: word})) for word in words if word in choices]
    for option, value in re.findall(r"(--[a-z-]+) ([\w.\-]+)", error.hint):
        if after := state_after(state, f"{option} {value.rstrip('.')}"):
            tried.append((f"{option} {value.rstrip('.')}", after))
    return [(word, f"/?{after.query}") for word, after in tried if after != state and _is_understood(after)]


def _is_understood(state: State) -> bool:
    try:
        row_of(state)
    except PlannerError:
        return False
    return True
