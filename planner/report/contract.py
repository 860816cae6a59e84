"""The JSON contract others rely on (docs/json.md): bytes as whole numbers, per GPU; one shape for every engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from planner.facts.alternatives import Alternative
from planner.facts.plan import Plan
from planner.facts.verdict import Rejection, Warn
from planner.report.head import HEAD
from planner.report.lead import answer_headline, headline, outcome
from planner.report.speed import speed_json, speed_reason
from planner.text import redact_words

if TYPE_CHECKING:
    from planner.questions.plan import Answer
    from planner.report.contract_parts import (
        AlternativeJson,
        CheckJson,
        EngineJson,
        HardwareJson,
        MemoryJson,
        ModelJson,
        PlanJson,
        RejectionJson,
        ServerJson,
        ServiceJson,
        SettingsJson,
        WarningJson,
    )


def check_json(plan: Plan, question: Mapping[str, object] | None = None) -> CheckJson:
    """The JSON object of a checked command, with its question where it may be asked again."""
    service = plan.service
    said: CheckJson = {
        "schema": HEAD["schema"],
        "plan_version": HEAD["plan_version"],
        "verdict": plan.verdict,
        "headline": headline([outcome(plan)]).words,
        "problems": [{"code": problem.code, "message": problem.message, "fix": problem.fix} for problem in plan.problems],
        "model": _model(plan),
        "hardware": _hardware(plan),
        "engine": _engine(plan),
        "settings": _settings(plan),
        "memory": _memory(plan) if plan.lines else None,
        "alternatives": alternatives_json(plan.alternatives),
        "commands": [{"service": service.name, "argv": redact_words(service.argv), "env": service.env}],
        "files": [],
        "not_covered": [part.flag for part in plan.not_covered],
        "warnings": _warnings(plan.warnings),
    }
    if question:
        said["question"] = dict(question)
    return said


def plan_json(answer: Answer, files: list[str]) -> PlanJson:
    """The JSON object of planned servers, with the paths of the files that were written."""
    plan = answer.main
    failed = next((server for server in answer.plans if server.rejection), plan)
    return {
        **HEAD,
        **_server(plan),
        "verdict": answer.verdict,
        "headline": answer_headline(answer).words,
        "requirements_met": answer.requirements_met,
        "meets_wish": answer.requirements_met,
        "model": _model(plan),
        "hardware": _hardware(plan),
        "engine": _engine(plan),
        "rejection": _rejection(failed.rejection),
        "alternatives": alternatives_json(answer.alternatives),
        "services": [_service(server) for server in answer.plans],
        "commands": [{"service": service.name, "argv": list(service.argv), "env": service.env} for service in reversed(answer.deployment.processes)],
        "files": files,
        "question": answer.question,
        "warnings": _warnings(answer.warnings),
        "deployment": asdict(answer.deployment),  # type: ignore[typeddict-item]  # the schema is the dataclass's
    }


def _server(plan: Plan) -> ServerJson:
    server: ServerJson = {
        "verdict": plan.verdict,
        "settings": _settings(plan),
        "reasons": dict(plan.reasons),
        "memory": _memory(plan),
        "longest_context": plan.longest_context,
        "speed": speed_json(plan.speed),
        "speed_reason": speed_reason(plan.speed),
        "rejection": _rejection(plan.rejection),
    }
    if plan.layers:
        server |= {"layers": plan.layers, "layers_on_gpu": plan.layers_on_gpu}
    return server


def _service(plan: Plan) -> ServiceJson:
    service = plan.service
    return {
        "name": service.name,
        "model": plan.model.id,
        "quantization": plan.model.quantization,
        "port": service.port,
        "gpus": list(plan.gpus),
        "held_bytes": plan.held_bytes,
        **_server(plan),
    }


def _settings(plan: Plan) -> SettingsJson:
    settings: SettingsJson = {}
    settings.update(dict(plan.settings))  # type: ignore[typeddict-item]  # as the engine's table says
    return settings


def _warnings(warnings: Iterable[Warn]) -> list[WarningJson]:
    return [{"code": warning.code, "message": warning.message} for warning in warnings]


def _rejection(rejection: Rejection | None) -> RejectionJson | None:
    return {"code": rejection.code, "message": rejection.reason, "short_by_bytes": rejection.short_by_bytes} if rejection else None


def _engine(plan: Plan) -> EngineJson:
    return {"name": plan.service.engine, "version": plan.version, "attention_backend": plan.backend}


def _hardware(plan: Plan) -> HardwareJson:
    group = plan.group
    return {
        "gpu": group.gpu.name,
        "count": group.count,
        "nodes": group.nodes,
        "host": str(group.host),
        "memory_total_bytes": group.gpu.memory_bytes,
        "cuda_total_bytes": group.total_bytes,
        "cuda_total_estimated": group.total_is_estimated,
        "free_at_start_bytes": plan.available_bytes,
    }


def alternatives_json(alternatives: Iterable[Alternative]) -> list[AlternativeJson]:
    """Changes that would do."""
    return [{"change": a.change, "arguments": a.arguments, "verdict": a.verdict, "command": a.command} for a in alternatives]


def _model(plan: Plan) -> ModelJson:
    model = plan.model
    return {
        "id": model.id,
        "architecture": model.architecture,
        "quantization": model.quantization,
        "max_position_embeddings": model.max_position_embeddings,
    }


def _memory(plan: Plan) -> MemoryJson:
    low, expected, high = plan.total_bytes
    memory: MemoryJson = {
        "lines": [
            {
                "key": line.key,
                "name": line.name,
                "bytes": line.bytes,
                "low_bytes": line.low_bytes,
                "high_bytes": line.high_bytes,
                "how": str(line.how),
                "note": line.note,
            }
            for line in plan.lines
        ],
        "total_bytes": expected,
        "total_bytes_low": low,
        "total_bytes_high": high,
    }
    memory.update(plan.memory)  # type: ignore[typeddict-item]  # keys of the engine's own: tests/report/test_schemas.py
    return memory
