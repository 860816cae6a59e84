"""What GPUs serve of a model, whether somebody's command starts, what happened to a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from planner.facts.record import dataclass
from planner.questions import check as checking
from planner.questions import explain as explaining
from planner.questions import plan as planning
from planner.questions.asked import File, Host, Pins, naming, public, release, row_of, whole
from planner.questions.stack_file import with_row

if TYPE_CHECKING:
    from planner.report.contract_parts import CheckJson, PlanJson
    from planner.report.explained import ExplainJson


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanAnswer(planning.Answer):
    """What a machine can serve: `verdict`, `requirements_met`, `main` and `plans` with their ledgers, `deployment`, `alternatives`, `warnings`."""

    def to_dict(self) -> PlanJson:
        """What `plan --json` prints (docs/json.md)."""
        from planner.report.contract import plan_json

        return plan_json(self, [])


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAnswer(checking.CheckAnswer):
    """Whether a command starts: `verdict`, `problems` in the order in which its engine would hit them, `plan` with the ledger."""

    def to_dict(self) -> CheckJson:
        """What `plan check --json` prints."""
        from planner.report.contract import check_json

        return check_json(self.plan)


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
    gpu_layers: int | None = None,
    wired_limit_mb: int | None = None,
    bind: str = "127.0.0.1",
    port: int | None = None,
    proxy_port: int = 8080,
    gpus: File | None = None,
    models: File | None = None,
    **pins: Unpack[Pins],
) -> PlanAnswer:
    """What these GPUs can serve of a model, with which flags.

    `model` is a catalogue name, owner/name on the Hub, or a folder; `gpu` a catalogue name, or "auto" for this machine's; `context` tokens, or
    text such as "128k"; `users` must fit at full context; `input`, `output_tokens` and `concurrency` say what the speed is for; `beside` are further servers as `--with` names them. Raises PlannerError.
    """
    with naming(gpu, count, gpus, models) as counted:
        machine = {
            "gpu": gpu, "count": counted, "nodes": nodes, "host": host, "engine": engine, "vllm_version": release(vllm_version), "bind": bind,
            "proxy_port": proxy_port, "link_gb_per_s": link_gb_per_s, "wired_limit_mb": wired_limit_mb,
        }  # fmt: skip
        load = {"input": input, "output_tokens": output_tokens, "concurrency": concurrency}
        row = row_of("plan()", machine, {"model": str(model), "context": context, "users": users, "gpu_layers": gpu_layers, **load, **pins})
        row = replace(row, services=[*row.services, *map(with_row, beside)])
        return public(PlanAnswer, planning.answer_for(row, None if port is None else whole("port", port)))


def check(
    command: str,
    *,
    gpu: str,
    count: int | None = None,
    host: Host = "server",
    free_gib: float | None = None,
    vllm_version: str | None = None,
    server: int | None = None,
    gpus: File | None = None,
    models: File | None = None,
) -> CheckAnswer:
    """Whether somebody's command starts: of any engine, or the text of a script or compose file, of whose servers `server` counts one.

    `free_gib` is what is free of each GPU now. Nothing is run. Raises PlannerError where no server is started there.
    """
    with naming(gpu, count, gpus, models) as counted:
        process = checking.find_server(command, server)
        if vllm_version:
            process = replace(process, version=vllm_version)
        machine = row_of("check()", {"gpu": gpu, "count": counted, "host": host}, {"model": "any"})
        return CheckAnswer(plan=checking.check(process, checking.group_for(process, gpu, machine.count, machine.host, free_gib)))


def explain(
    log: str, *, gpu: str | None = None, model: str | None = None, count: int | None = None, gpus: File | None = None, models: File | None = None
) -> ExplainAnswer:
    """What happened in a server's log, whole or one line of it; `gpu` and `model` where it does not name them. Raises PlannerError for no log."""
    with naming(None, count, gpus, models):
        explained, spec = explaining.explain_log(explaining.lines_of(log), gpu=gpu, model=model, count=count and whole("count", count))
        return ExplainAnswer(explained=explained, gpu=spec)
