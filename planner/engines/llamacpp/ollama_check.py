"""Somebody's Ollama and the model that is asked of it -> whether it fits, and what of it runs on the CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.engines.decided import decided, refuse_unresolved
from planner.engines.llamacpp import ollama, ollama_command
from planner.engines.llamacpp.check import Machine, ask_of, fewer_layers, margin_bytes, visible, warnings_of
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.named import by_tag
from planner.engines.llamacpp.plan import plan_of
from planner.engines.llamacpp.settings import OLLAMA_SETTINGS
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.facts.hardware import GpuGroup
from planner.facts.plan import Plan
from planner.facts.verdict import Verdict

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue


def check_ollama(command: Command, group: GpuGroup, catalogue: Catalogue) -> Plan:
    """Judge Ollama with a model. Raises PlannerError where none is named, or one that the catalogue does not know."""
    read = ollama_command.read_command(command)
    refuse_unresolved(read, OLLAMA_SETTINGS, dict(command.env))
    if not read.model:
        raise PlannerError("Ollama starts without a model; which one is asked of it is not said", "add `ollama run MODEL`")
    named = by_tag(read.model, catalogue)
    kind = str(ollama_command.setting(read.settings, "kv_cache_type")).lower()
    whole = visible(group, dict(command.env))
    context = int(ollama_command.setting(read.settings, "context_length") or 0) or ollama.default_context(whole.total_bytes * whole.count)
    ways = ollama.parallel(named.model, max(1, int(ollama_command.setting(read.settings, "num_parallel") or 1)))
    config = LlamaCppConfig(context=min(context, named.model.max_context), parallel=ways, kv_type=kind if not read.faults else "f16", vision=named.has_vision)
    free, predicted = whole.free_at_start_bytes(1), ollama.predicted_bytes(named.model, config)
    config = replace(config, ubatch=ollama.batch(predicted, config.context * config.parallel, free))
    machine = Machine(
        group=whole, gpus=ollama.gpus_used(predicted, free, whole.count), margin_bytes=margin_bytes(dict(command.env).get("LLAMA_ARG_FIT_TARGET", "1024"))
    )
    fitted = fewer_layers(named, machine, config)
    plan = plan_of(ask_of(named, whole, is_ollama=True, config=fitted), fitted, machine.gpus)
    if fitted != config and plan.verdict is Verdict.TIGHT:
        plan = replace(plan, verdict=Verdict.STARTS)
    said = dict.fromkeys(read.settings, "from the environment")
    reasons = (
        ("context", said.get("context_length", "Ollama's default for the memory of all GPUs")),
        (
            "parallel",
            said.get("num_parallel", "Ollama's default") if ways > 1 or "num_parallel" not in said else "Ollama runs one request of this model at a time",
        ),
        ("kv_cache_type", said.get("kv_cache_type", "Ollama's default")),
        ("batch", "Ollama's choice for this context and memory"),
        ("gpu_layers", "llama.cpp's choice"),
        ("gpus", "80 % of one GPU suffice (Ollama's rule)" if machine.gpus < whole.count else "all of them"),
    )
    plan = replace(plan, reasons=reasons)
    warnings = [*ollama_command.remarks(command), *named.warnings, *warnings_of(named, fitted, plan, has_fit=True)]
    missing = [*named.not_covered, *ollama_command.missing(command)]
    env = {row.flag: value for row in OLLAMA_SETTINGS if (value := dict(command.env).get(row.flag))}
    return decided(plan, read, missing=missing, warnings=warnings, fix="a tag of fewer bits, or another GPU", env=env)
