"""The JSON contract others rely on (docs/json.md): bytes as whole numbers, per GPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, cast

from typing_extensions import TypedDict

from planner.engines.vllm.choice import Choice
from planner.engines.vllm.pace import estimate
from planner.engines.vllm.plan import Alternative
from planner.engines.vllm.settings import ServeConfig, reported
from planner.facts.deployment import Deployment
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec
from planner.facts.verdict import Rejection, Verdict
from planner.questions.placement import Placed, Stack, stack_warnings
from planner.report.contract_parts import EngineJson, HardwareJson, MemoryJson, ModelJson, SettingsJson
from planner.report.lead import Outcome, headline, stack_headline
from planner.report.speed import SpeedJson, speed_json, speed_reason
from planner.secrets import redact_words

if TYPE_CHECKING:
    from planner.engines.vllm.check import Checked


class CommandJson(TypedDict):
    """A command to run, with what it needs in its environment."""

    service: str
    argv: list[str]
    env: dict[str, str]


class ServiceJson(TypedDict):
    """One server among several: on which GPUs, with which share of them, and its ledger; in the order in which they start."""

    name: str
    model: str
    verdict: Verdict
    port: int
    gpus: list[int]
    held_bytes: int
    settings: SettingsJson
    memory: MemoryJson
    rejection: RejectionJson | None


class WarningJson(TypedDict):
    """Something to know."""

    code: str
    message: str


class RejectionJson(TypedDict):
    """Why it does not start."""

    code: str
    message: str
    short_by_bytes: int


class AlternativeJson(TypedDict):
    """A checked change that meets the wish; `command` asks the whole question so (empty where only a stack file can)."""

    change: str
    arguments: str
    verdict: Verdict
    command: str


class ProblemJson(TypedDict):
    """Something that keeps a command from starting."""

    code: str
    message: str
    fix: str


class PlanJson(TypedDict):
    """One answer."""

    schema: Literal[1]
    verdict: Verdict
    headline: str
    meets_wish: bool
    model: ModelJson
    hardware: HardwareJson
    engine: EngineJson
    settings: SettingsJson
    reasons: dict[str, str]
    memory: MemoryJson
    speed: SpeedJson | None
    speed_reason: str | None
    rejection: RejectionJson | None
    alternatives: list[AlternativeJson]
    services: list[ServiceJson]
    commands: list[CommandJson]
    files: list[str]
    question: dict[str, Any]
    warnings: list[WarningJson]
    deployment: Deployment


class CheckJson(TypedDict):
    """The answer about a command; `memory` is null where no ledger can be made, `not_covered` are flags that the ledger does not hold."""

    schema: Literal[1]
    verdict: Verdict
    headline: str
    problems: list[ProblemJson]
    model: ModelJson
    hardware: HardwareJson
    engine: EngineJson
    settings: SettingsJson
    memory: MemoryJson | None
    alternatives: list[AlternativeJson]
    commands: list[CommandJson]
    files: list[str]
    not_covered: list[str]
    warnings: list[WarningJson]


def check_json(checked: Checked) -> CheckJson:
    """The JSON object of a checked command."""
    plan, request, config = checked.plan, checked.request, checked.config
    return {
        "schema": 1,
        "verdict": checked.verdict,
        "headline": headline([Outcome(verdict=checked.verdict)]).words,
        "problems": [{"code": p.code, "message": p.message, "fix": p.fix} for p in checked.problems],
        "model": _model(request.model, checked.repo),
        "hardware": _hardware(request.group, config),
        "engine": {"name": "vllm", "version": config.vllm_version, "attention_backend": plan.backend if plan else ""},
        "settings": _settings(config),
        "memory": _memory(plan.choice) if plan else None,
        "alternatives": alternatives_json(plan.alternatives) if plan else [],
        "commands": [{"service": "embedding" if request.model.pooling else "chat", "argv": redact_words(checked.argv), "env": {}}],
        "files": [],
        "not_covered": [one.flag for one in checked.not_covered],
        "warnings": [{"code": w.code, "message": w.message} for w in plan.warnings] if plan else [],
    }


def plan_json(stack: Stack, deployment: Deployment, files: list[str], question: dict[str, Any]) -> PlanJson:
    """The JSON object of placed servers; what it says of one is about the main one."""
    plan = stack.main
    config, group, speed = plan.config, plan.request.group, estimate(plan)
    failed = next((server.plan for server in stack.servers if server.plan.rejection), plan)
    return {
        "schema": 1,
        "verdict": stack.verdict,
        "headline": stack_headline(stack).words,
        "meets_wish": stack.meets_wish,
        "model": _model(plan.model, plan.repo),
        "hardware": _hardware(group, config),
        "engine": {"name": "vllm", "version": config.vllm_version, "attention_backend": plan.backend},
        "settings": _settings(config),
        "reasons": dict(plan.choice.reasons),
        "memory": _memory(plan.choice),
        "speed": speed_json(speed),
        "speed_reason": speed_reason(speed),
        "rejection": _rejection(failed.rejection),
        "alternatives": alternatives_json(stack.alternatives),
        "services": [_placed(server) for server in stack.servers],
        "commands": [{"service": service.name, "argv": list(service.argv), "env": service.env} for service in reversed(deployment.services)],
        "files": files,
        "question": question,
        "warnings": [{"code": w.code, "message": w.message} for w in stack_warnings(stack)],
        "deployment": asdict(deployment),  # type: ignore[typeddict-item]
    }


def _placed(server: Placed) -> ServiceJson:
    plan = server.plan
    return {
        "name": server.name,
        "model": plan.repo,
        "verdict": plan.verdict,
        "port": plan.port,
        "gpus": list(server.gpus),
        "held_bytes": server.held_bytes,
        "settings": _settings(plan.config),
        "memory": _memory(plan.choice),
        "rejection": _rejection(plan.rejection),
    }


def _rejection(rejection: Rejection | None) -> RejectionJson | None:
    return {"code": rejection.code, "message": rejection.reason, "short_by_bytes": rejection.short_by_bytes} if rejection else None


def _hardware(group: GpuGroup, config: ServeConfig) -> HardwareJson:
    return {
        "gpu": group.gpu.name,
        "count": group.count,
        "nodes": group.nodes,
        "host": str(group.host),
        "memory_total_bytes": group.gpu.memory_bytes,
        "cuda_total_bytes": group.total_bytes,
        "free_at_start_bytes": group.free_at_start_bytes(config.tensor_parallel_size),
    }


def _settings(config: ServeConfig) -> SettingsJson:
    return cast("SettingsJson", reported(config))


def alternatives_json(alternatives: Iterable[Alternative]) -> list[AlternativeJson]:
    """Changes that would do."""
    return [{"change": a.change, "arguments": a.arguments, "verdict": a.verdict, "command": a.command} for a in alternatives]


def _model(model: ModelSpec, repo: str) -> ModelJson:
    return {
        "id": repo,
        "architecture": model.architecture,
        "quantization": model.quantization,
        "max_position_embeddings": model.max_position_embeddings,
    }


def _memory(choice: Choice) -> MemoryJson:
    ledger = choice.expected
    return {
        "requested_bytes": ledger.requested_bytes,
        "weights_bytes": ledger.weights_bytes,
        "buffers_bytes": ledger.buffers_bytes,
        "activation_bytes": ledger.activation_bytes,
        "non_torch_bytes": ledger.non_torch_bytes,
        "cuda_graph_bytes": ledger.cuda_graph_bytes,
        "kv_cache_bytes": ledger.kv_cache_bytes,
        "kv_cache_bytes_low": choice.conservative.kv_cache_bytes,
        "kv_cache_bytes_high": choice.optimistic.kv_cache_bytes,
        "kv_block_bytes": ledger.kv_block_bytes,
        "kv_cache_blocks": ledger.kv_cache_blocks,
        "kv_cache_tokens": ledger.kv_cache_tokens,
        "max_concurrency": ledger.max_concurrency,
        "kv_cache_needed_bytes": ledger.kv_cache_needed_bytes,
        "longest_max_model_len": ledger.longest_max_model_len,
    }
