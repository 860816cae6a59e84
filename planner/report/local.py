"""The report and the JSON object about servers of llama.cpp, Ollama or MLX."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text
from typing_extensions import TypedDict

from planner.facts.deployment import Deployment
from planner.facts.local_plan import LocalPlan
from planner.facts.verdict import Verdict, worst
from planner.report.contract import AlternativeJson, CommandJson, RejectionJson, WarningJson, alternatives_json
from planner.report.contract_parts import EngineJson, HardwareJson, ModelJson
from planner.report.lead import local_binds, local_figures, local_headline, refusals
from planner.report.speed import SpeedJson, speed_json, speed_reason
from planner.report.terminal import BAR_WIDTH, heading, large, refused, run_it, speed, warned
from planner.report.words import speed_lines
from planner.units import GIB, gib

_COLOURS = ("blue", "bright_green", "yellow", "magenta", "cyan", "green")


class PartJson(TypedDict):
    """One term of the ledger."""

    name: str
    bytes: int
    low_bytes: int
    high_bytes: int
    note: str


class LocalMemoryJson(TypedDict):
    """What one GPU (or the Mac) holds; `parts` sum to `used_bytes`."""

    available_bytes: int
    used_bytes: int
    used_bytes_low: int
    used_bytes_high: int
    weights_bytes: int
    kv_cache_bytes: int
    host_bytes: int
    parts: list[PartJson]


class LocalServerJson(TypedDict):
    """One served model."""

    name: str
    model: ModelJson
    verdict: Verdict
    settings: dict[str, int | float | str | bool]
    reasons: dict[str, str]
    memory: LocalMemoryJson
    layers: int
    layers_on_gpu: int
    longest_context: int
    speed: SpeedJson | None
    speed_reason: str | None
    rejection: RejectionJson | None


class LocalJson(TypedDict):
    """The answer about another runtime; what it says of one server is about the main one."""

    schema: Literal[1]
    verdict: Verdict
    headline: str
    meets_wish: bool
    model: ModelJson
    hardware: HardwareJson
    engine: EngineJson
    settings: dict[str, int | float | str | bool]
    reasons: dict[str, str]
    memory: LocalMemoryJson
    longest_context: int
    layers: int
    layers_on_gpu: int
    speed: SpeedJson | None
    speed_reason: str | None
    rejection: RejectionJson | None
    alternatives: list[AlternativeJson]
    services: list[LocalServerJson]
    commands: list[CommandJson]
    files: list[str]
    question: dict[str, Any]
    warnings: list[WarningJson]
    deployment: Deployment


def local_json(plans: tuple[LocalPlan, ...], deployment: Deployment, files: list[str], question: dict[str, Any]) -> LocalJson:
    """The JSON object of the plans, the last of which is the main one."""
    plan, group = plans[-1], plans[-1].group
    server = _server(plan)
    warnings = {(warning.code, warning.message): None for each in reversed(plans) for warning in each.warnings}
    return {
        "schema": 1,
        "verdict": worst([each.verdict for each in plans]),
        "headline": local_headline(plans).words,
        "meets_wish": all(each.meets_wish for each in plans),
        "model": server["model"],
        "hardware": {
            "gpu": group.gpu.name,
            "count": group.count,
            "nodes": group.nodes,
            "host": str(group.host),
            "memory_total_bytes": group.gpu.memory_bytes,
            "cuda_total_bytes": group.total_bytes,
            "free_at_start_bytes": plan.available_bytes,
        },
        "engine": {"name": plan.engine, "version": plan.version, "attention_backend": ""},
        "settings": server["settings"],
        "reasons": server["reasons"],
        "memory": server["memory"],
        "longest_context": plan.longest_context,
        "layers": plan.layers,
        "layers_on_gpu": plan.layers_on_gpu,
        "speed": server["speed"],
        "speed_reason": server["speed_reason"],
        "rejection": server["rejection"],
        "alternatives": alternatives_json(a for each in plans for a in each.alternatives),
        "services": [_server(each) for each in plans],
        "commands": [{"service": service.name, "argv": list(service.argv), "env": service.env} for service in reversed(deployment.processes)],
        "files": files,
        "question": question,
        "warnings": [{"code": code, "message": message} for code, message in warnings],
        "deployment": asdict(deployment),  # type: ignore[typeddict-item]
    }


def _server(plan: LocalPlan) -> LocalServerJson:
    known = {part.key: part.bytes for part in plan.parts}
    rejection = plan.rejection
    return {
        "name": plan.service.name,
        "model": {
            "id": plan.model,
            "architecture": plan.architecture,
            "quantization": plan.quantization,
            "max_position_embeddings": plan.max_position_embeddings,
        },
        "verdict": plan.verdict,
        "settings": dict(plan.settings),
        "reasons": dict(plan.reasons),
        "memory": {
            "available_bytes": plan.available_bytes,
            "used_bytes": plan.used_bytes,
            "used_bytes_low": sum(part.low_bytes for part in plan.parts),
            "used_bytes_high": plan.most_bytes,
            "weights_bytes": known["weights_bytes"],
            "kv_cache_bytes": known["kv_cache_bytes"],
            "host_bytes": plan.host_bytes,
            "parts": [{"name": p.name, "bytes": p.bytes, "low_bytes": p.low_bytes, "high_bytes": p.high_bytes, "note": p.note} for p in plan.parts],
        },
        "layers": plan.layers,
        "layers_on_gpu": plan.layers_on_gpu,
        "longest_context": plan.longest_context,
        "speed": speed_json(plan.speed),
        "speed_reason": speed_reason(plan.speed),
        "rejection": {"code": rejection.code, "message": rejection.reason, "short_by_bytes": rejection.short_by_bytes} if rejection else None,
    }


def render(plans: tuple[LocalPlan, ...], deployment: Deployment, folder: str = "") -> RenderableType:
    """The whole report: the main server first, then those beside it."""
    starts = all(plan.verdict != "does_not_start" for plan in plans)
    services = deployment.processes if starts else ()
    commands = [Text(_command(service.env, service.argv), "bold", no_wrap=True, overflow="ignore") for service in services]
    pieces: list[RenderableType] = []
    for plan in reversed(plans):
        pieces += [*([Text()] if pieces else []), *_one(plan, [] if pieces else list(run_it(commands, folder)))]
    pieces += warned(dict.fromkeys(warning.message for plan in reversed(plans) for warning in plan.warnings))
    return Group(*pieces, *([Text(), *commands] if folder else []))


def _command(env: dict[str, str], argv: tuple[str, ...]) -> str:
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in env.items()), shlex.join(argv)])


def _one(plan: LocalPlan, after: Sequence[RenderableType]) -> Iterator[RenderableType]:
    yield heading(plan.model, f"({plan.quantization}) on {plan.group.label} with {plan.engine} {plan.version}", local_headline([plan]))
    yield Text()
    if plan.verdict != "does_not_start":
        yield from large(local_figures(plan))
        yield Text(local_binds(plan))
        yield from speed(speed_lines(plan.speed))
        yield Text()
    if not plan.meets_wish:
        yield from refused(refusals([(plan.service.name, plan.rejection)]), plan.alternatives)
    yield from after
    yield _bar(plan)
    yield _ledger(plan)
    yield Text()
    table = Table(box=None, show_header=False, pad_edge=False)
    for column_style in (None, None, "dim"):
        table.add_column(style=column_style, no_wrap=column_style is None)
    values = dict(plan.settings)
    for name, reason in plan.reasons:
        table.add_row(name, str(values.get(name, "")), reason)
    yield table


def _bar(plan: LocalPlan) -> Text:
    bar = Text()
    for part, colour in zip(plan.parts, _COLOURS, strict=False):
        wanted = round(part.bytes / max(1, plan.available_bytes) * BAR_WIDTH)
        bar.append("█" * min(wanted, BAR_WIDTH - len(bar)), colour)
    return bar.append("░" * (BAR_WIDTH - len(bar)), "dim").append(f" {gib(plan.available_bytes)} available{' a GPU' if plan.group.count > 1 else ''}")


def _ledger(plan: LocalPlan) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("per GPU" if plan.group.count > 1 else "")
    table.add_column("GiB", justify="right")
    table.add_column("")
    for part, colour in zip(plan.parts, _COLOURS, strict=False):
        interval = "" if part.low_bytes == part.high_bytes else f"{part.low_bytes / GIB:.2f} to {part.high_bytes / GIB:.2f}; "
        table.add_row(Text(f"■ {part.name}", colour), f"{part.bytes / GIB:.2f}", Text(interval + part.note, "dim"))
    together = "needed" if plan.rejection else "together"
    table.add_row(together, f"{plan.used_bytes / GIB:.2f}", Text(f"at most {plan.most_bytes / GIB:.2f}", "dim"))
    if plan.rejection:
        table.add_row("there is", f"{plan.available_bytes / GIB:.2f}", Text("that may be used", "dim"))
        table.add_row("short by", f"{plan.rejection.short_by_bytes / GIB:.2f}", "")
    if plan.host_bytes:
        table.add_row("main memory", f"{plan.host_bytes / GIB:.2f}", Text(plan.host_note, "dim"))
    return table


def show(plans: tuple[LocalPlan, ...], deployment: Deployment, console: Console, folder: str = "") -> None:
    """Print the report to a console."""
    console.print(render(plans, deployment, folder), crop=False)
