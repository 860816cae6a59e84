"""Links that ask the page again: from words to type, and from options in a sentence, to the address of the question they mean."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import cache

from planner.catalogue.names import is_repo_id
from planner.engines import ENGINES
from planner.errors import PlannerError
from planner.facts.settings import Kind
from planner.questions.command_line import SETTINGS
from planner.web.fields import BESIDE, flag, known_names
from planner.web.jobs import JOBS, PLAN, Job
from planner.web.state import State, made, row_of

_OWN = ("--gpus", "--models")  # the files that the page was started with count anyway
_SHELL = set("$&|;<>()`\n\\")  # of a command that a shell would change
_OPTIONS = r"--[a-z][a-z-]+ (?!-)[\w.:/+,\-]*\w(?: --[a-z][a-z-]+ (?!-)[\w.:/+,\-]*\w)*"


@cache
def _flags(job: Job) -> Mapping[str, tuple[str, str]]:
    """What each flag of the command line is here: a field, and the value of a switch, empty where the next word is the value."""
    flags: dict[str, tuple[str, str]] = {}
    for name in job.accepts:
        setting = SETTINGS.get(name)
        is_switch = setting is not None and setting.kind is Kind.SWITCH
        spelled = (flag(name), *((setting.flag, *setting.aliases, setting.asked_as) if setting else ()))
        flags |= {each: (name, "yes" if is_switch else "") for each in spelled if each}
        flags |= dict.fromkeys(setting.off if setting else (), (name, "no"))
    return flags


def state_after(state: State, words: str) -> State | None:
    """The question that the words ask: a whole `plan …`, or options that change this one; None where the page has no field for one of them."""
    try:
        parts = shlex.split(words)
    except ValueError:
        return None
    values = dict(state.values)
    job = state.job
    if parts[:1] == ["plan"]:
        values, job, parts = {}, *_job_of(parts[1:])
    said = _values(job, parts)
    if not said and job is state.job and job.pasted == "command":
        said = {"command": text} if (text := rewritten(state["command"], parts)) else {}
    return made(job, values | said) if said else None


def rewritten(command: str, parts: list[str]) -> str:
    """A command with other values for some flags; empty where it is more than one command in plain words, or what is asked is no flags."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    if not words or set(command) & _SHELL or not parts or not parts[0].startswith("-"):
        return ""
    for flag_, values in _flags_in(parts):
        at = next((place for place, word in enumerate(words) if word == flag_ or word.startswith(f"{flag_}=")), None)
        if at is None:
            words += [flag_, *values]
        else:
            words[at : at + (1 if "=" in words[at] else 1 + len(values))] = [flag_, *values]
    return shlex.join(words)


def _flags_in(parts: list[str]) -> list[tuple[str, list[str]]]:
    """Each flag with its values."""
    found: list[tuple[str, list[str]]] = []
    for part in parts:
        if part.startswith("-") or not found:
            found.append((part, []))
        else:
            found[-1][1].append(part)
    return found


def _job_of(parts: list[str]) -> tuple[Job, list[str]]:
    """Whose question a command line is."""
    command = next((job for job in JOBS.values() if job.command and job.command == parts[0]), None) if parts else None
    if command:
        return command, parts[1:]
    has = {name: f"--{name}" in parts for name in ("gpu", "model", "with")}
    return JOBS["stack" if has["with"] else "models" if not has["model"] else "machines" if not has["gpu"] else PLAN], parts


def _values(job: Job, parts: list[str]) -> dict[str, str]:
    """What options say; nothing where one of them is none of the job's."""
    flags, values, waiting = _flags(job), dict[str, str](), list(reversed(parts))
    while waiting:
        word = waiting.pop()
        if word in _OWN and waiting:
            waiting.pop()
            continue
        name, value = flags.get(word, ("", ""))
        if not name or not (value or waiting):
            return {}
        if name in BESIDE:
            name = next((each for each in BESIDE if each in job.accepts and each not in values), "")
            if not name:
                return {}
        values[name] = value or waiting.pop()
    return values


def link(state: State, words: str) -> str:
    """The address that asks so; empty where the page cannot."""
    after = state_after(state, words)
    return after.address if after and after != state else ""


def linked(state: State, text: str) -> list[tuple[str, str]]:
    """A sentence in parts, each with its address: options that would change the question are links."""
    parts: list[tuple[str, str]] = []
    at = 0
    for found in re.finditer(_OPTIONS, text):
        if address := link(state, found[0]):
            parts += [(text[at : found.start()], ""), (found[0], address)]
            at = found.end()
    return [*parts, (text[at:], "")]


def nearest(state: State, error: PlannerError) -> list[tuple[str, str]]:
    """What a fault's hint names, with its address: known names in place of the unknown one, or options. Only what is then understood is offered."""
    known: dict[str, set[str]] = {name: set(choices) for name, choices in known_names().items()} | {"engine": set(ENGINES)}
    known |= dict.fromkeys(BESIDE, known["model"])
    words = list(dict.fromkeys(word.rstrip(".") for word in re.findall(r"[\w.\-]+", error.hint)))
    tried: list[tuple[str, State]] = []
    for field, choices in known.items():
        if field not in state.job.accepts or (field in BESIDE and not state[field]):
            continue
        names = [name.strip() for name in state[field].split(",")] if state.job.several else [state[field]]
        wrong = next((name for name in names if name not in choices and not is_repo_id(name)), None)
        if wrong is not None:
            tried += [(word, state.changed(**{field: ",".join(word if name == wrong else name for name in names)})) for word in words if word in choices]
    for options in re.findall(_OPTIONS, error.hint):
        if after := state_after(state, options):
            tried.append((options, after))
    return [(word, after.address) for word, after in tried if after != state and _is_understood(after)]


def _is_understood(state: State) -> bool:
    try:
        row_of(state if not state.job.several else state.changed(gpu=state["gpu"].partition(",")[0], count="", model=state["model"].partition(",")[0]))
    except PlannerError:
        return False
    return True


def checked(state: State, command: str) -> str:
    """The address that judges a command on the GPUs of this question; empty for one of `plan` itself, and where it is judged already."""
    asked = {name: state[name] for name in ("gpu", "count") if state[name]}
    is_other = state.job.pasted != "command" and not command.startswith("plan ") and "gpu" in asked and "," not in asked["gpu"]
    return made(JOBS["check"], {**asked, "command": command}).address if is_other else ""
