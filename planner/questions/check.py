"""Somebody's command, or the script that holds it -> the plan of its server, with the problems in the order in which its engine would hit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.engines import ENGINES, Unanswered
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.facts.hardware import GpuGroup, Host
from planner.facts.plan import Plan, Problem
from planner.facts.record import dataclass
from planner.facts.verdict import Verdict
from planner.questions.find_commands import find_commands
from planner.text import redact_words
from planner.units import GIB

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAnswer:
    """Whether a command starts."""

    plan: Plan

    @property
    def verdict(self) -> Verdict:
        """Whether it starts."""
        return self.plan.verdict

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What keeps it from starting, in the order in which its engine would hit it; empty where nothing does."""
        return self.plan.problems


def find_server(text: str, number: int | None = None) -> Command:
    """The server that a text starts, or the one of that number where it starts several. Raises PlannerError for none, and for several without a number."""
    commands = _joined(find_commands(text))
    if not commands:
        examples = " or ".join(f"`{engine.example}`" for engine in ENGINES.values())
        raise PlannerError(f"no {_any_of([engine.title for engine in ENGINES.values()])} server is started there", f"expected {examples}")
    if len(commands) > 1 and number is None:
        starts = "; ".join(f"{index}: {' '.join(redact_words(process.words[:2]))}" for index, process in enumerate(commands, 1))
        raise PlannerError(f"{len(commands)} servers are started there ({starts})", "choose one with --server N")
    if (number or 1) > len(commands):
        raise PlannerError(f"--server {number}: there are {len(commands)} servers")
    return commands[(number or 1) - 1]


def _any_of(titles: Sequence[str]) -> str:
    *most, last = titles
    return f"{', '.join(most)} or {last}" if most else last


def _joined(commands: Sequence[Command]) -> list[Command]:
    """The servers, each with the model that a client names to it: `ollama serve`, then `ollama run MODEL`."""
    if len(commands) < 2:
        return list(commands)
    servers: list[Command] = []
    for command in commands:
        read = ENGINES[command.engine].read_command(command)
        if isinstance(read, Unanswered) or not read.is_client:
            servers.append(command)
            continue
        waiting = [index for index, server in enumerate(servers) if server.engine == command.engine and _is_waiting(server)]
        if waiting:
            servers[waiting[-1]] = replace(command, env=servers[waiting[-1]].env, version=servers[waiting[-1]].version)
        elif not any(server.engine == command.engine and _model(server) == read.model for server in servers):
            servers.append(command)
    return servers


def _model(command: Command) -> str:
    read = ENGINES[command.engine].read_command(command)
    return "" if isinstance(read, Unanswered) else read.model


def _is_waiting(server: Command) -> bool:
    """Whether a server runs without a model so far."""
    return not _model(server)


def group_for(command: Command, gpu: str, count: int, host: str, free_gib: float | None = None, *, ram_bytes: int = 0) -> GpuGroup:
    """The machine that a command is to run on; `free_gib` is what is free of each GPU now, `ram_bytes` its main memory. Raises PlannerError for a GPU that its engine refuses."""
    from planner.catalogue.load import find_gpu
    from planner.machine.calibration import calibrated

    spec = calibrated(find_gpu(gpu))
    if refused := ENGINES[command.engine].refuses(spec):
        raise PlannerError(f"{spec.title}: {refused}")
    if free_gib is not None:
        free = int(free_gib * GIB)
        spec = replace(spec, free_at_start_bytes=free, wsl2_free_at_start_bytes=free)
    return GpuGroup(gpu=spec, count=count, host=Host(host), ram_bytes=ram_bytes)


def check(command: Command, group: GpuGroup, catalogue: Catalogue | None = None) -> Plan:
    """Whether a server's command starts on a machine. Raises PlannerError where it names no model, or one that nobody here knows."""
    answer = ENGINES[command.engine].check(command, group, catalogue or _catalogue())
    if isinstance(answer, Unanswered):
        raise PlannerError(f"{ENGINES[command.engine].title}: {answer.reason}")
    return answer


def _catalogue() -> Catalogue:
    from planner.catalogue import resolve

    return resolve
