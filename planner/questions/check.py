"""Somebody's command, or the script that holds it -> the plan of its server, with the problems in the order in which its engine would hit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner import reader
from planner.engines import ENGINES, Unanswered
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.facts.hardware import GpuGroup
from planner.facts.plan import Plan
from planner.facts.question import HostName, StackRow
from planner.questions.find_commands import MAX_TEXT_BYTES, find_commands
from planner.questions.machine import machine_of
from planner.questions.ports import remarks
from planner.text import redact_words

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue


MOST_LISTED = 20  # servers of a text that are named


def find_server(text: str, number: int | None = None, *, model: str = "") -> Command:
    """The server that a text starts, or the one of that number where it starts several; `model` is asked of one that names none.

    Raises PlannerError for none, and for several without a number.
    """
    return chosen(find_commands(text), number, model=model)


def read_text(path: Path) -> str:
    """The text of a script or a file of a server. Raises FileError for what is no text, too large, or cannot be read."""
    return reader.read_text(path, MAX_TEXT_BYTES)


def chosen(read: Sequence[Command], number: int | None = None, *, model: str = "") -> Command:
    """One of several servers, the one of a number; `model` is asked of one that names none. Raises PlannerError for none, and for several without a number."""
    commands = joined(read)
    if not commands:
        examples = " or ".join(f"`{engine.example}`" for engine in ENGINES.values())
        raise PlannerError(f"no {_any_of([engine.title for engine in ENGINES.values()])} server is started there", f"expected {examples}")
    if len(commands) > 1 and number is None:
        starts = "; ".join(f"{index}: {_shown(process)}" for index, process in enumerate(commands[:MOST_LISTED], 1)) + "; …" * (len(commands) > MOST_LISTED)
        raise PlannerError(f"{len(commands)} servers are started there ({starts})", "choose one with --server N")
    if (number or 1) > len(commands):
        raise PlannerError(f"--server {number}: there are {len(commands)} servers")
    command = commands[(number or 1) - 1]
    return replace(command, model=model) if model and not _model(command) else command


def _shown(command: Command) -> str:
    return " ".join(redact_words(command.words[:2])) or " ".join(command.program) or command.engine


def _any_of(titles: Sequence[str]) -> str:
    *most, last = titles
    return f"{', '.join(most)} or {last}" if most else last


def joined(commands: Sequence[Command]) -> list[Command]:
    """The servers, each with the model that a client names to it: `ollama serve`, then `ollama run MODEL`.

    One server may be named several models, each of which is a server of its own here; a model that is made of another (`ollama create`) is that.
    """
    if len(commands) < 2:
        return list(commands)
    servers: list[Command] = []
    waiting: dict[str, Command] = {}  # by engine, the server that runs without a model so far
    for command in commands:
        read = ENGINES[command.engine].read_command(command)
        if isinstance(read, Unanswered) or not (read.is_client or _is_waiting(command)):
            servers.append(command)
            continue
        if not read.is_client:
            waiting[command.engine] = max(command, waiting.get(command.engine, command), key=lambda server: len(server.env))  # setup scripts start a bare one
            servers = [_of(server, waiting[server.engine]) if server.engine == command.engine and _is_client(server) else server for server in servers]
            continue
        server = waiting.get(command.engine)
        servers = [other for other in servers if not (other.engine == command.engine and read.makes and _model(other) == read.model)]
        if not any(other.engine == command.engine and read.model in _names(other) for other in servers):
            servers.append(_of(command, server) if server else command)
    unnamed = [server for engine, server in waiting.items() if not any(other.engine == engine for other in servers)]
    return [replace(server, beside=tuple(_others(server, servers))) for server in servers] + unnamed


def met(servers: Sequence[Command], beside: Sequence[Command]) -> list[Command]:
    """Servers of a file, with what `beside` of the same folder's other files says: one without a model is named those that clients name there.

    A client whose own file starts a bare server (a setup script) is served by the one with the most said of it.
    """
    found: list[Command] = []
    for server in servers:
        others = [other for other in beside if other.engine == server.engine]
        if _is_client(server):
            most = max((other for other in others if _is_waiting(other)), key=lambda other: len(other.env), default=server)
            found.append(_of(server, most) if len(most.env) > len(server.env) else server)
        elif _is_waiting(server) and (clients := [other for other in others if _is_client(other)]):
            found += [replace(_of(client, server), line=server.line, column=server.column) for client in clients]
        else:
            found.append(server)
    return found


def is_half(command: Command) -> bool:
    """Whether it is a server that names no model, or a model that is named to a server."""
    return _is_client(command) or _is_waiting(command)


def _others(server: Command, servers: Sequence[Command]) -> list[Command]:
    """Further models of the server that a client names one to."""
    return [other for other in servers if other is not server and other.engine == server.engine and _is_client(other)] if _is_client(server) else []


def _of(client: Command, server: Command) -> Command:
    """A client's model, served by a server: it alone sees the variables that count."""
    return replace(client, env=server.env, version=server.version, contained=client.contained or server.contained, set_for_it=())


def _read(command: Command) -> Command | None:
    read = ENGINES[command.engine].read_command(command)
    return None if isinstance(read, Unanswered) else read


def _model(command: Command) -> str:
    read = _read(command)
    return read.model if read else ""


def _names(command: Command) -> tuple[str, ...]:
    """What clients call a server's model."""
    read = _read(command)
    return (read.makes or read.model, read.makes.removesuffix(":latest")) if read else ()


def _is_client(command: Command) -> bool:
    read = _read(command)
    return read is not None and read.is_client


def _is_waiting(server: Command) -> bool:
    """Whether a server runs without a model so far."""
    return not _model(server)


def group_for(command: Command, gpu: str, count: int, host: HostName, free_gib: float | None = None, *, ram_bytes: int = 0) -> GpuGroup:
    """The machine that a command is to run on, by what is mostly said of it (`machine_for`)."""
    return machine_for(command, StackRow(gpu=gpu, count=count, host=host, free_gib=free_gib, ram=ram_bytes or None, services=[]))


def machine_for(command: Command, row: StackRow) -> GpuGroup:
    """The machine that a command is to run on, one kind of card or several. Raises PlannerError for a GPU that its engine refuses, and for what can be none."""
    group = machine_of(row)
    for member in group.cards or (group.gpu,):
        if refused := ENGINES[command.engine].refuses(member):
            raise PlannerError(f"{member.title}: {refused}")
    return group


def check(command: Command, group: GpuGroup, catalogue: Catalogue | None = None) -> Plan:
    """Whether a server's command starts on a machine. Raises PlannerError where it names no model, or one that nobody here knows."""
    answer = ENGINES[command.engine].check(command, group, catalogue or _catalogue())
    if isinstance(answer, Unanswered):
        raise PlannerError(f"{ENGINES[command.engine].title}: {answer.reason}")
    return replace(answer, warnings=(*answer.warnings, *remarks(command)))


def _catalogue() -> Catalogue:
    from planner.catalogue import resolve

    return resolve
