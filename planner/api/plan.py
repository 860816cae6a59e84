"""What GPUs serve of a model, whether somebody's command starts, what happened to a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from planner.facts.command import Command
from planner.facts.command_line import AUTO
from planner.facts.plan import Plan, Problem
from planner.facts.question import StackRow
from planner.facts.record import dataclass
from planner.facts.verdict import Verdict
from planner.questions import explain as explaining
from planner.questions import plan as planning
from planner.questions.asked import File, Host, MachineSettings, PlanSettings, naming, needed, public, release, row_of, whole
from planner.questions.check_text import check_text
from planner.questions.files.machines import Target, told_in
from planner.questions.proxy.judge import ProxyAnswer
from planner.questions.stack_file import with_row

if TYPE_CHECKING:
    from planner.report.contract_parts import CheckJson, PlanJson
    from planner.report.explained import ExplainJson
    from planner.report.proxy import ProxyCheckJson


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanAnswer(planning.Answer):
    """What a machine can serve: `verdict`, `requirements_met`, `main` and `plans` with their ledgers, `deployment`, `alternatives`, `warnings`."""

    def to_dict(self) -> PlanJson:
        """What `plan --json` prints (docs/json.md)."""
        from planner.report.contract import plan_json

        return plan_json(self, [])


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAnswer:
    """Whether a command starts: `verdict`, `problems` in the order in which its engine would hit them, `plan` with the ledger; `proxy` where one is configured there."""

    plan: Plan | None
    proxy: ProxyAnswer | None = None
    question: Mapping[str, object] | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the server starts, or without one the proxy."""
        if self.plan is not None:
            return self.plan.verdict
        return self.proxy.verdict if self.proxy else Verdict.UNKNOWN

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What keeps it from starting, or routes of the proxy from answering; empty where nothing does."""
        if self.plan is not None:
            return self.plan.problems
        return self.proxy.problems if self.proxy else ()

    def to_dict(self) -> CheckJson | ProxyCheckJson:
        """What `plan check --json` prints."""
        if self.plan is None and self.proxy is not None:
            from planner.report.proxy import proxy_json

            return proxy_json(self.proxy)
        from planner.report.contract import check_json

        assert self.plan is not None  # noqa: S101 - one of both is there
        return check_json(self.plan, self.question)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainAnswer(explaining.ExplainAnswer):
    """What happened to a server: `explained` has what its log says, the cause, remedies and the prediction; `gpu` where it is known."""

    def to_dict(self) -> ExplainJson:
        """What `plan explain --json` prints."""
        from planner.report.explained import explain_json

        return explain_json(self.explained, self.gpu.name if self.gpu else None)


def plan(
    *,
    model: File,
    gpu: str,
    count: int | None = None,
    context: int | str | None = None,
    users: int | None = None,
    input: int | None = None,  # noqa: A002 - as the option is called
    output_tokens: int | None = None,
    concurrency: int | None = None,
    engine: str | None = None,
    host: Host = "server",
    nodes: int = 1,
    beside: Sequence[str] = (),
    vllm_version: str | None = None,
    link_gb_per_s: float | None = None,
    wired_limit_mb: int | None = None,
    bind: str = "127.0.0.1",
    port: int | None = None,
    proxy_port: int = 8080,
    gpus: File | None = None,
    models: File | None = None,
    **settings: Unpack[PlanSettings],
) -> PlanAnswer:
    """What these GPUs can serve of a model, with which flags.

    `model` is a catalogue name, owner/name on the Hub, or a folder; `gpu` a catalogue name, or "auto" for this machine's; `context` tokens, or
    text such as "128k"; `users` must fit at full context; `input`, `output_tokens` and `concurrency` say what the speed is for; `beside` are further servers as `--with` names them; every other option of `plan` is an argument of its name. Raises PlannerError.
    """
    with naming(gpu, count, gpus, models) as counted:
        machine = {
            "gpu": gpu, "count": counted, "nodes": nodes, "host": host, "engine": engine, "vllm_version": release(vllm_version), "bind": bind,
            "proxy_port": proxy_port, "link_gb_per_s": link_gb_per_s, "wired_limit_mb": wired_limit_mb,
        }  # fmt: skip
        pins = dict(settings)
        machine |= {name: pins.pop(name, None) for name in MachineSettings.__annotations__}
        load = {"input": input, "output_tokens": output_tokens, "concurrency": concurrency}
        row = row_of("plan()", machine, {"model": str(model), "context": context, "users": users, **load, **pins})
        row = replace(row, services=[*row.services, *map(with_row, beside)])
        return public(PlanAnswer, planning.answer_for(row, None if port is None else whole("port", port)))


def check(
    command: str,
    *,
    gpu: str | None = None,
    count: int | None = None,
    host: Host = "server",
    engine_version: str | None = None,
    vllm_version: str | None = None,
    server: int | None = None,
    model: str | None = None,
    gpus: File | None = None,
    models: File | None = None,
    **machine: Unpack[MachineSettings],
) -> CheckAnswer:
    """Whether somebody's command starts: of any engine, or the text of a script or compose file, of whose servers `server` counts one.

    The configuration of a LiteLLM proxy is judged too: without a server beside it `plan` is None, and `gpu` not needed; nor is it where a manifest
    selects nodes by it. Without `count` there are as many GPUs as a container is given, else one. `engine_version` (or
    `vllm_version`) is the engine's release where the text does not say; `model` is asked of a server that names none; `free_gib` is what is free
    of each GPU now. Nothing is run. Raises PlannerError where neither is started there.
    """
    with naming(gpu, count, gpus, models) as counted:

        def asked(server: Command) -> StackRow:
            told = None if gpu else told_in([(None, command)])
            name = told.row.gpu if told else needed("gpu", gpu, "rtx4090")
            row = row_of("check()", {"gpu": name, "count": counted, "host": host, **machine}, {"model": "any"})
            has_count = count is not None or gpu == AUTO
            if told:
                given = {"count": count, "host": None if host == "server" else host, **machine}
                return told.with_said(row, [key for key, value in given.items() if value is not None]).machine_for(server)
            return Target(row=row, has_count=has_count).machine_for(server)

        checked = check_text(command, asked, version=engine_version or vllm_version, server=server, model=model or "")
        return CheckAnswer(plan=checked.plan, proxy=checked.proxy, question=checked.question)


def explain(
    log: str, *, gpu: str | None = None, model: str | None = None, count: int | None = None, gpus: File | None = None, models: File | None = None
) -> ExplainAnswer:
    """What happened in a server's log, whole or one line of it; `gpu` and `model` where it does not name them. Raises PlannerError for no log."""
    with naming(None, count, gpus, models):
        explained, spec = explaining.explain_log(explaining.lines_of(log), gpu=gpu, model=model, count=count and whole("count", count))
        return ExplainAnswer(explained=explained, gpu=spec)
