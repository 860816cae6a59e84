"""Plan llama.cpp's server or Ollama for a GGUF model: context, cache type, which layers on which GPUs, what to warn an agent of."""

from __future__ import annotations

from dataclasses import replace

from planner.engines import Placement
from planner.engines.budget import Budget, budgeted
from planner.engines.catalogue import Catalogue
from planner.engines.decided import plan_beyond
from planner.engines.llamacpp import ollama
from planner.engines.llamacpp.alternatives import alternatives
from planner.engines.llamacpp.ask import GgufAsk, ask_of
from planner.engines.llamacpp.backend import Backend, backend_of, ollamas
from planner.engines.llamacpp.builds import MASK_IS_HALF, build_name
from planner.engines.llamacpp.by_hand import cards_used, config_by_hand, divided, is_by_hand
from planner.engines.llamacpp.compute import compute_bytes, mask_bytes, pool_bytes
from planner.engines.llamacpp.drafting import by_ollama, drafting_asked
from planner.engines.llamacpp.fit import Room, fitted
from planner.engines.llamacpp.layers import Placement as Layout
from planner.engines.llamacpp.ledger import LlamaCppLedger, free_bytes, ledger, ledger_of
from planner.engines.llamacpp.memory import FIT_MARGIN_BYTES, LlamaCppConfig, with_drafts
from planner.engines.llamacpp.one_machine import check_that_it_is_one
from planner.engines.llamacpp.pace import local_work_of, speed
from planner.engines.llamacpp.placement import Held
from planner.engines.llamacpp.projector import WARMUP_PATCHES
from planner.engines.llamacpp.ram import binds, holds, within_ram
from planner.engines.llamacpp.reasons import reasons_of, settings_of
from planner.engines.llamacpp.service import service_of
from planner.engines.llamacpp.warn import swaps, warnings
from planner.engines.metal import check_wired_limit, wired_bytes
from planner.engines.naming import named
from planner.engines.sequence import one_after_another
from planner.errors import PlannerError
from planner.facts.context import USEFUL_CONTEXT
from planner.facts.hardware import GpuGroup
from planner.facts.plan import How, Line, Plan, PlannedModel, exactly, longest_context
from planner.facts.question import ServiceRow, StackRow
from planner.facts.speed import full_load, slowest_s
from planner.facts.verdict import Verdict
from planner.units import gib, tokens

LLAMA_CPP_VERSION = ollama.BUILD
_SHORTEST = 4096  # tokens: what is planned where nothing longer fits
_PARTS_ERROR_PERMILLE = 20  # of weights that lie in parts on all GPUs: parts are of whole heads, and turn with the layers


def placement(question: StackRow, machine: GpuGroup, first_port: int, catalogue: Catalogue, *, is_ollama: bool) -> Placement:
    """The servers of a question on one machine. Raises PlannerError for what the engine cannot do."""
    check_that_it_is_one(machine, is_ollama=is_ollama)
    check_wired_limit(machine.gpu, question.wired_limit_mb)
    machine = _metal(machine, question)
    pooling = [not service.model.endswith(".gguf") and catalogue.find_plain(service.model).spec.pooling for service in question.services]
    shared_port = (question.services[0].port or first_port) if is_ollama else None
    rows = named(question.services, pooling, first_port=first_port, proxy_port=question.proxy_port, shared_port=shared_port)

    asks: list[GgufAsk] = []

    def plan_one(row: ServiceRow, group: GpuGroup, is_main: bool) -> Plan:
        asks.append(_asked(row, group, question, catalogue, is_ollama=is_ollama, is_main=is_main))
        return plan_gguf(asks[-1])

    placed = one_after_another(rows, machine, plan_one, beside_bytes=machine.process_bytes(1))
    return replace(placed, warnings=(*placed.warnings, *swaps(asks, placed.plans, machine))) if is_ollama and len(rows) > 1 else placed


def _metal(machine: GpuGroup, question: StackRow) -> GpuGroup:
    """A Mac with what its GPU may wire: the Metal backend asks for the same limit."""
    if machine.gpu.vendor != "apple":
        return machine
    return replace(machine, gpu=replace(machine.gpu, free_at_start_bytes=wired_bytes(machine.gpu, question.wired_limit_mb)[0]))


def alone(question: StackRow, machine: GpuGroup, catalogue: Catalogue, *, is_ollama: bool) -> Plan:
    """The only server of a question, as it is asked. Raises PlannerError for what the engine cannot do."""
    check_that_it_is_one(machine, is_ollama=is_ollama)
    machine = _metal(machine, question)
    return plan_as_asked(_asked(question.services[0], machine, question, catalogue, is_ollama=is_ollama, is_main=True))


def _asked(row: ServiceRow, group: GpuGroup, question: StackRow, catalogue: Catalogue, *, is_ollama: bool, is_main: bool) -> GgufAsk:
    """One row of a question, with what drafts for it, on the cards that it uses."""
    ask = ask_of(row, group, question, catalogue, is_ollama=is_ollama, is_main=is_main)
    by_hand = dict(ask.pins.by_hand)
    used = cards_used(by_hand, group, is_split=by_hand.get("split_mode") != "none")
    return replace(
        ask, group=used, visible=group.count, drafting=by_ollama(ask.tag, None, ask.model) if is_ollama else drafting_asked(row, ask.model, catalogue)
    )


def plan_gguf(ask: GgufAsk) -> Plan:
    """Plan one server. Raises PlannerError for what the engine refuses."""
    plan = plan_as_asked(ask)
    return plan if plan.requirements_met else replace(plan, alternatives=alternatives(ask, plan, plan_as_asked))


def plan_as_asked(ask: GgufAsk) -> Plan:
    """Plan one server without looking for what would do. Raises PlannerError for what the engine refuses."""
    _check(ask)
    config = _chosen(ask)
    return plan_of(ask, config, _gpus(ask, config))


def _check(ask: GgufAsk) -> None:
    limit = ask.model.max_context
    if ask.context and ask.context > limit:
        raise PlannerError(f"a context of {tokens(ask.context)} is beyond the model's {tokens(limit)}", f"use --context {limit}")
    if ask.model.pooling and not ask.is_ollama:
        for flag, size in (("--ubatch-size", ask.pins.ubatch), ("--batch-size", ask.pins.batch)):
            if size and ask.context and size < ask.context:
                raise PlannerError(f"{flag} {size}: a text that is embedded must fit one, and {tokens(ask.context)} tokens are wanted", f"{flag} {ask.context}")


def _gpus(ask: GgufAsk, config: LlamaCppConfig) -> int:
    """GPUs used: by Ollama's rule, or all with llama.cpp's layer split."""
    if not ask.is_ollama:
        return ask.group.count
    return ollama.gpus_used(ollama.predicted_bytes(ask.model, config), free_bytes(ask.group, 1)[0], ask.group.count)


def _settled(ask: GgufAsk, config: LlamaCppConfig) -> LlamaCppConfig:
    """The configuration with what the engine sets by itself."""
    if not ask.is_ollama:  # a text whose tokens are pooled must fit one micro-batch (tools/server)
        return replace(config, ubatch=max(config.ubatch, config.context)) if ask.model.pooling else config
    config = replace(config, parallel=ollama.parallel(ask.model, config.parallel))
    predicted = ollama.predicted_bytes(ask.model, config)
    return replace(config, ubatch=ollama.batch(predicted, config.context * config.parallel, free_bytes(ask.group, 1)[0], embeds=ask.model.pooling))


def _surely(ask: GgufAsk, gpus: int) -> Room:
    """What is free of each GPU, and the margin that llama.cpp keeps there, wider by what an estimated total may be wrong."""
    errors = [member.free_error[0] for member in ask.group.members[:gpus]] if ask.group.cards else [ask.group.free_error[0]] * gpus
    return Room(free_bytes(ask.group, gpus), tuple(FIT_MARGIN_BYTES + error for error in errors))


def _fits(ask: GgufAsk, config: LlamaCppConfig, *, at_most: bool = False) -> bool:
    """Whether all that is to lie on the GPUs does, with the margin that llama.cpp keeps; `at_most`: with the most that each term may be."""
    settled = _settled(ask, config)
    room = _surely(ask, _gpus(ask, settled))
    held = ledger_of(ask.model, settled, room.free_bytes)
    used = [sum(line.high_bytes for line in _lines(ask, settled, gpu)) if at_most else gpu.total_bytes for gpu in held.gpus]
    return room.takes(used) and holds(held, ask.group)


def longest(ask: GgufAsk, config: LlamaCppConfig) -> int:
    """The longest context before layers leave the GPU, in whole steps or the model's own limit; 0 where not even a short one fits."""
    limit = ask.model.max_context
    return longest_context(limit, lambda context: _fits(ask, replace(config, context=max(1, context))))


def _surest(ask: GgufAsk, config: LlamaCppConfig, fitting: int) -> int:
    """The longest context that surely fits, where that is a useful one; else the longest that is expected to."""
    sure = longest_context(fitting, lambda context: _fits(ask, replace(config, context=max(1, context)), at_most=True))
    return sure if sure >= min(USEFUL_CONTEXT, ask.model.max_context) else fitting


def _chosen(ask: GgufAsk) -> LlamaCppConfig:
    """16-bit cache before 8-bit where that makes all fit; else what llama.cpp's own fit leaves on the GPUs."""
    base = ask.pins.pinned(LlamaCppConfig(context=ask.context or 1, parallel=ask.users, gpu_layers=ask.gpu_layers, vision=ask.has_vision))
    by_hand = dict(ask.pins.by_hand)
    base = with_drafts(config_by_hand(base, by_hand, ask.model, ask.group.count), ask.drafting, ask.model)
    vendor = ask.group.gpu.vendor
    base = replace(base, backend=ollamas(vendor, {}) if ask.is_ollama else backend_of(vendor, str(by_hand.get("device") or "")))
    kinds = (ask.kv_type,) if ask.kv_type else ("f16", "q8_0") if base.flash_attention else ("f16",)
    config, fitting = base, 0
    for kv_type in kinds:
        config = ask.pins.typed(replace(base, kv_type=kv_type, value_type=""))
        fitting = longest(ask, config)
        if ask.context is None:
            config = replace(config, context=max(_surest(ask, config, fitting), min(_SHORTEST, ask.model.max_context)))
        if config.context <= fitting and (ask.context or config.context >= min(USEFUL_CONTEXT, ask.model.max_context)):
            return _settled(ask, config)
    if config.context <= fitting or ask.gpu_layers is not None or is_by_hand(base, ask.group.count):
        return _settled(ask, config)
    return _partly(ask, ask.pins.typed(replace(config, kv_type=kinds[0], value_type="")))


def _partly(ask: GgufAsk, config: LlamaCppConfig) -> LlamaCppConfig:
    """A configuration as the fit places it: where no context is asked, a useful one if only experts leave the GPUs for it."""
    if ask.context is None and ask.model.has_experts:
        useful = _placed(ask, replace(config, context=min(USEFUL_CONTEXT, ask.model.max_context)))
        if useful.placement is not None and useful.placement.layers_on_gpu > ask.model.layer_count:
            return useful
    return _placed(ask, config)


def _placed(ask: GgufAsk, config: LlamaCppConfig) -> LlamaCppConfig:
    config = _settled(ask, config)
    gpus = _gpus(ask, config)
    margins = (FIT_MARGIN_BYTES,) * gpus
    if ask.is_ollama:
        held = ledger(ask.model, config, ask.group, gpus=gpus)
        margins = tuple(ollama.margin_bytes(held, gpu, counts_drafts=True) for gpu in range(gpus))
    return replace(config, placement=fitted(ask.model, config, Room(free_bytes(ask.group, gpus), margins)))


def _narrower(ask: GgufAsk, config: LlamaCppConfig) -> Layout | None:
    """Where a cache in 8 bits would have the layers lie, of one in 16 bits that does not fit whole; None where it is no choice."""
    if config.placement is None or config.kv_type != "f16" or ask.kv_type or ask.pins.key_type or not config.flash_attention:
        return None
    return _placed(ask, replace(config, kv_type="q8_0", value_type="", placement=None)).placement


def plan_of(ask: GgufAsk, config: LlamaCppConfig, gpus: int) -> Plan:
    """The plan of one server whose configuration is settled: its ledger, and whether that fits."""
    return _plan(ask, config, ledger(ask.model, config, ask.group, gpus=gpus), gpus)


def _plan(ask: GgufAsk, config: LlamaCppConfig, held: LlamaCppLedger, gpus: int) -> Plan:
    free = longest(ask, replace(config, gpu_layers=None, placement=None))
    least = min(target - gpu.total_bytes for target, gpu in zip(_surely(ask, gpus).targets, held.gpus, strict=True))
    surely = held.fullest.total_bytes + least  # what the GPU that is nearest to its end may grow by, whichever that is
    settings = settings_of(config, held, gpus)
    plan = budgeted(
        Budget(_lines(ask, config, held.fullest), held.available_bytes, surely, is_estimated=ask.group.free_error != (0, 0)),
        engine="ollama" if ask.is_ollama else "llama.cpp",
        version=(ask.release or ollama.VERSION) if ask.is_ollama else build_name(config.build),
        model=PlannedModel(
            id=ask.tag or ask.hub or ask.source,
            architecture=ask.model.architecture,
            quantization=ask.model.mix,
            max_position_embeddings=ask.model.max_context,
        ),
        group=ask.group,
        settings=settings,
        reasons=reasons_of(ask, config, held, gpus, narrower=_narrower(ask, config)),
        context=config.context,
        users=config.parallel * config.sequences,
        longest_context=free,
        service=service_of(ask, config, settings),
        layers=held.layers + 1,
        layers_on_gpu=held.layers_on_gpu,
        host_bytes=held.host.total_bytes,
        host_note=held.host_note,
        is_pinned_partial=ask.gpu_layers is not None,
    )
    plan = replace(plan, sharing=config.sequences, layers_divided=held.placement.divided if ask.model.has_experts else 0, is_made_here=bool(ask.made_from))
    if config.placement is not None and plan.verdict is Verdict.TIGHT:
        plan = replace(plan, verdict=Verdict.STARTS)  # llama.cpp measures what it places, and leaves its margin
    plan = within_ram(replace(plan, binds=binds(held, is_pinned=ask.gpu_layers is not None) or plan.binds) if plan.starts else plan, held.host_note)
    full = replace(ask, load=replace(full_load(config.context, plan.service.longest_answer), concurrency=1))
    slowest = slowest_s(speed(full, config, held, plan), config.parallel)
    plan = replace(
        plan, speed=speed(ask, config, held, plan), own=local_work_of(ask, config, held, plan), service=replace(plan.service, slowest_answer_s=slowest)
    )
    plan = replace(plan, warnings=warnings(ask, config, held, plan))
    missing = (*ask.drafting.missing, *divided(ask.pins.by_hand, gpus, config, ask.model))
    return plan_beyond(plan, missing)


def _lines(ask: GgufAsk, config: LlamaCppConfig, gpu: Held) -> tuple[Line, ...]:
    weights = (
        "the file's tensors"
        if ask.model.mix == "file"
        else f"{ask.model.mix}, exact"
        if ask.model.exact
        else f"{ask.model.mix}, other tensors by its main type"
    )
    lines = [
        _weights(gpu.weights_bytes, ask.model.weights_error_permille, weights, is_split=config.split_tensors),
        exactly("kv_cache", "KV cache", gpu.kv_cache_bytes),
        _compute(ask, config, gpu.compute_bytes),
    ]
    if pool := pool_bytes(ask.model, config):
        lines.append(_derived("pool", "CUDA's pool", pool, "16-bit copies of one layer's cache, made when the context is full; logs do not show them", config))
    if gpu.mmproj_bytes:
        lines.append(exactly("mmproj", "vision projector", gpu.mmproj_bytes, "its weights in 16 bits"))
        lines.append(_derived("mmproj_compute", "its buffer", gpu.mmproj_compute_bytes, _image_note(ask, config), config))
    if gpu.draft_weights_bytes:
        what = "its predicting layers" if config.drafter and config.drafter.is_head else "draft model"
        lines.append(exactly("draft_weights", what, gpu.draft_weights_bytes, "what drafts"))
    if gpu.draft_kv_cache_bytes:
        lines.append(exactly("draft_kv_cache", "their KV cache", gpu.draft_kv_cache_bytes, "a context of its own, as long as the model's"))
    if gpu.draft_compute_bytes:
        lines.append(_derived("draft_compute", "their buffer", gpu.draft_compute_bytes, "derived from llama.cpp's graph", config))
    return tuple(lines)


def _image_note(ask: GgufAsk, config: LlamaCppConfig) -> str:
    if config.image_tokens:
        return f"for an image of {tokens(config.image_tokens)} tokens" + ("" if ask.model.mmproj_patches > WARMUP_PATCHES else ", or the largest that it takes")
    return "for an image of 46 x 46 tokens; " + ("larger ones take more" if ask.is_ollama else "--image-max-tokens scales larger ones to it")


def _weights(size: int, error: int, note: str, *, is_split: bool) -> Line:
    """The weights; of a mix of others as its published files take them, with how far they lie from it."""
    if not error and not is_split:
        return exactly("weights", "weights", size, note)
    note = "by published files of this mix" if error else f"{note}; a part of each on every GPU"
    error = max(error, _PARTS_ERROR_PERMILLE) if is_split else error
    low, high = size * (1000 - error) // 1000, size * (1000 + error) // 1000
    return Line(key="weights", name="weights", bytes=size, low_bytes=low, high_bytes=high, how=How.CALIBRATED, note=note)


def _compute(ask: GgufAsk, config: LlamaCppConfig, size: int) -> Line:
    """The compute buffer; of Ollama's own engine, which had graphs of its own, with how far logs lie from llama.cpp's: 0.19 GiB for 0.32, 1.1 for 0.56."""
    if config.own_engine:
        low, high = size * 11 // 20, size * 2
        return Line(key="compute", name="compute graph", bytes=size, low_bytes=low, high_bytes=high, how=How.ESTIMATED, note="of Ollama's own engine: few logs")
    line = _derived("compute", "compute buffer", size, "derived from llama.cpp's graph", config)
    copies = size - compute_bytes(ask.model, replace(config, backend=Backend.VULKAN)) if config.backend is Backend.OPEN else 0
    if config.backend is Backend.VULKAN and config.build < MASK_IS_HALF and config.flash_attention and ask.model.has_state:
        stays = int((size + mask_bytes(ask.model, config, 4)) * _MASK_STAYS)
        return replace(line, high_bytes=max(line.high_bytes, stays), note=f"{line.note}; behind it the mask may stay, as logs of one hybrid have it")
    if copies <= 0 or config.placement is not None:
        return line
    return replace(
        line, low_bytes=int((size - copies) * Backend.VULKAN.error[0]), note=f"{line.note}, of the ROCm build; Vulkan's lacks {gib(copies)} of copies"
    )


_MASK_STAYS = 1.05  # of both: Qwen3.6-35B-A3B, b9010, 563.78 MiB at 34,048 tokens to 768.52 at 132,352; with Qwen3-Next it does not


def _derived(key: str, name: str, size: int, note: str, config: LlamaCppConfig) -> Line:
    """A term derived from llama.cpp's graph, with what it was off by."""
    low, high = config.backend.error
    return Line(key=key, name=name, bytes=size, low_bytes=int(size * low), high_bytes=int(size * high), how=How.DERIVED, note=note)
