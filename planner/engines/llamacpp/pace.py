"""The speed of its users: what a step reads of a GGUF file on the GPUs, and of main memory where a part of it lies there."""

from __future__ import annotations

from dataclasses import replace

from planner.engines.llamacpp.ask import GgufAsk
from planner.engines.llamacpp.backend import Backend
from planner.engines.llamacpp.layers import EXPERTS, MAIN_MEMORY, Part
from planner.engines.llamacpp.ledger import LlamaCppLedger
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.model import GgufModel
from planner.engines.pace import LocalWork, local_estimate, local_work
from planner.engines.work import weights
from planner.facts.config import Parallel
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts
from planner.facts.plan import Plan
from planner.facts.speed import NoSpeed, SpeedEstimate, no_start
from planner.speed.work import Weights


def speed(ask: GgufAsk, config: LlamaCppConfig, held: LlamaCppLedger, plan: Plan) -> SpeedEstimate | NoSpeed:
    """What users see, or why that is not said."""
    work = local_work_of(ask, config, held, plan)
    return work if isinstance(work, NoSpeed) else local_estimate(work, ask.group, config.context, ask.load, slots=plan.users)


def local_work_of(ask: GgufAsk, config: LlamaCppConfig, held: LlamaCppLedger, plan: Plan) -> LocalWork | NoSpeed:
    """What a step does, or why that is not known."""
    if plan.verdict.falls_short:
        return no_start(plan.verdict)
    if config.split_tensors:
        return NoSpeed("what --split-mode tensor gains over layers on each GPU was not measured")
    if config.drafted and not ask.is_ollama:  # Ollama drafts unasked: its speed is said without, which drafting is there to beat
        return NoSpeed("how much of what is drafted is accepted was not measured")
    if ask.origin is None:
        return NoSpeed("a GGUF file alone does not tell how its layers compute; name the model it was made of with --model and --quantization")
    kv_bits = {"q8_0": 8, "q4_0": 4}.get(config.kv_type, 16)
    widened = ask.model.mix not in ("F16", "BF16", "F32")
    on_gpus, host_bytes, cache = gguf_weights(ask.origin, ask.model), 0, held.host.kv_cache_bytes
    if not held.is_whole:
        on_gpus, host_bytes = _divided(ask.origin, ask.model, held, on_gpus)
    work = local_work(
        "llamacpp",
        ask.origin,
        ask.group.gpu,
        on_gpus,
        stages=len(held.gpus),
        kv_bits=kv_bits,
        widened=widened,
        batch=config.ubatch,
        is_vulkan=config.backend is Backend.VULKAN,
    )
    return work if isinstance(work, NoSpeed) else LocalWork(work=work, model=ask.origin, host_bytes=host_bytes, host_cache_bytes=cache)


def gguf_weights(model: ModelSpec, file: GgufModel) -> Weights:
    """Bytes as a GGUF file stores them; experts and the rest share a layer's by how many weights they have, what is multiplied does not change."""
    plain, layers = weights(model, Parallel()), sum(file.layer_bytes)
    experts = layers * plain.expert_macs // (plain.dense_macs + plain.expert_macs)
    return replace(plain, dense_bytes=layers - experts, head_bytes=file.output_bytes, expert_bytes=experts)


def _divided(model: ModelSpec, file: GgufModel, held: LlamaCppLedger, whole: Weights) -> tuple[Weights, int]:
    """The weights on the GPUs, and what a token reads of those in main memory: of a layer's experts the share that it uses."""
    experts, dense = 0, 0
    for layer, gpu, moved in zip(file.layers, held.placement.gpus, held.placement.moved, strict=False):
        outside = tuple(Part) if gpu == MAIN_MEMORY else moved
        apart = layer.bytes_of(tuple(part for part in outside if part in EXPERTS))
        experts, dense = experts + apart, dense + layer.bytes_of(outside) - apart
    head = file.output_bytes if held.placement.gpus[-1] == MAIN_MEMORY else 0
    banks = max((module.experts for group in model.layers for module in group.modules if isinstance(module, Experts)), default=1)
    left = replace(whole, dense_bytes=max(0, whole.dense_bytes - dense), expert_bytes=max(0, whole.expert_bytes - experts), head_bytes=whole.head_bytes - head)
    return left, head + dense + experts * model.experts_per_token // banks
