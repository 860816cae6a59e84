"""A text that somebody gives whole: its server judged, the proxy that is configured beside it, or that proxy alone."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path

from planner.errors import FileError
from planner.facts.command import Command
from planner.facts.document import JsonObject, json_list
from planner.facts.plan import Plan
from planner.facts.question import StackRow
from planner.facts.record import dataclass
from planner.questions.check import check, chosen, machine_for
from planner.questions.check_proxy import as_warnings, check_proxy, start_without_config
from planner.questions.find_commands import find_commands
from planner.questions.proxy.judge import ProxyAnswer
from planner.questions.proxy.servers import beside_servers
from planner.questions.question import said_of
from planner.questions.stack_file import stack_row
from planner.text import BLANK, is_secret_name, redact, redact_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The plan of the server with its question, the judged configuration of the proxy; one of both is there."""

    plan: Plan | None
    proxy: ProxyAnswer | None = None
    question: Mapping[str, object] | None = None


def check_text(text: str, machine: Callable[[Command], StackRow], *, version: str | None = None, server: int | None = None, model: str = "") -> Checked:
    """Whether what a text starts does so; `machine` is asked for that of a server, only where one is started. Raises PlannerError where nothing is."""
    proxy, commands = check_proxy(text), find_commands(text)
    if proxy and not commands:
        return Checked(plan=None, proxy=proxy)
    if not commands and (missing := start_without_config(text)):
        raise missing
    process = chosen(commands, server, model=model)
    if version:
        process = replace(process, version=version)
    row = machine(process)
    plan = check(process, machine_for(process, row))
    if proxy:
        plan = replace(plan, warnings=(*plan.warnings, *as_warnings(proxy), *beside_servers(proxy, commands)))
    return Checked(plan=plan, proxy=proxy, question=check_question(process, row))


def check_question(command: Command, row: StackRow) -> dict[str, object] | None:
    """What was asked of a command, to be asked again: its line, the machine, what differs from the defaults; None where a line does not say all of it.

    It is made of the words that were read, never of the text around them, which may hold keys in any form.
    """
    line = _line_of(command)
    beside = {"folder": command.folder and str(Path(command.folder).absolute()), "engine_version": command.version, "model": command.model}
    return {"command": [line], **said_of(row), **{name: value for name, value in beside.items() if value}} if line else None


def _line_of(command: Command) -> str | None:
    """The command as a shell takes it, without its secrets, where it is read as the same one."""
    if command.beside or command.files or command.unresolved or command.contained or command.makes:
        return None
    words = redact_words(command.words)
    env = [f"{name}={shlex.quote(BLANK if is_secret_name(name) else redact(value))}" for name, value in command.env]
    line = " ".join([*env, shlex.join((*command.program, *words))])
    return line if [(found.engine, found.words) for found in find_commands(line)] == [(command.engine, tuple(words))] else None


def check_again(question: JsonObject, path: Path) -> Plan:
    """Today's answer to a question of `check_question`. Raises PlannerError for what is none, and where nothing is started there any more."""
    known = {field.name for field in fields(StackRow)} - {"services"}
    row = stack_row({**{name: value for name, value in question.items() if name in known}, "services": [{"model": "-"}]}, str(path), lambda _: str(path))
    texts, folder, version, model = (question.get(name) for name in ("command", "folder", "engine_version", "model"))
    if not all(isinstance(text, str) for text in (*json_list(texts), *(said for said in (folder, version, model) if said is not None))):
        raise FileError(path, "does not hold the question that it answers", "plan check … --json prints an answer which does")
    commands = [replace(command, folder=str(folder or "")) for text in json_list(texts) for command in find_commands(str(text))]
    process = chosen(commands, model=str(model or ""))
    process = replace(process, version=str(version)) if version else process
    return check(process, machine_for(process, replace(row, services=[])))
