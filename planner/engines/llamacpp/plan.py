"""Plan llama.cpp's server or Ollama for a GGUF model: context, cache type, which layers on which GPUs, what to warn an agent of."""

from __future__ import annotations

from dataclasses import replace

from planner.engines import Placement
from planner.engines.budget import Budget, budgeted
from planner.engines.catalogue import Catalogue
from planner.engines.llamacpp import ollama
from planner.engines.llamacpp.alternatives import alternatives
from planner.engines.llamacpp.ask import GgufAsk, ask_of
from planner.engines.llamacpp.builds import build_name
from planner.engines.llamacpp.compute import pool_bytes
from planner.engines.llamacpp.fit import Room, fits_whole, fitted
from planner.engines.llamacpp.ledger import LlamaCppLedger, free_bytes, ledger
from planner.engines.llamacpp.making import projector_name
from planner.engines.llamacpp.memory import FIT_MARGIN_BYTES, LlamaCppConfig
from planner.engines.llamacpp.model import WARMUP_TOKENS
from planner.engines.llamacpp.pace import speed
from planner.engines.llamacpp.pins import BATCH
from planner.engines.llamacpp.ram import binds, within_ram
from planner.engines.llamacpp.reasons import reasons_of, settings_of
from planner.engines.llamacpp.warn import warnings
from planner.engines.metal import check_wired_limit, wired_bytes
from planner.engines.naming import named
from planner.engines.sequence import one_after_another
from planner.errors import PlannerError
from planner.facts.context import USEFUL_CONTEXT
from planner.facts.deployment import Service
from planner.facts.hardware import GpuGroup
from planner.facts.model import ChatFormat
from planner.facts.plan import How, Line, Plan, PlannedModel, exactly, longest_context
from planner.facts.question import ServiceRow, StackRow
from planner.facts.speed import full_load, slowest_s
from planner.facts.verdict import Verdict
from planner.units import tokens

LLAMA_CPP_VERSION = ollama.BUILD
_SHORTEST = 4096  # tokens: what is planned where nothing longer fits
_COMPUTE_LOW, COMPUTE_HIGH = 0.95, 1.12  # of the derived compute buffer: the CUDA logs and the oracle's worst


def placement(question: StackRow, machine: GpuGroup, first_port: int, catalogue: Catalogue, *, is_ollama: bool) -> Placement:
    """The servers of a question on one machine. Raises PlannerError for what the engine cannot do."""
    check_wired_limit(machine.gpu, question.wired_limit_mb)
    machine = _metal(machine, question)
    pooling = [not service.model.endswith(".gguf") and catalogue.find_plain(service.model).spec.pooling for service in question.services]
    shared_port = (question.services[0].port or first_port) if is_ollama else None
    rows = named(question.services, pooling, first_port=first_port, proxy_port=question.proxy_port, shared_port=shared_port)

    def plan_one(row: ServiceRow, group: GpuGroup, is_main: bool) -> Plan:
        return plan_gguf(ask_of(row, group, question, catalogue, is_ollama=is_ollama, is_main=is_main))

    return one_after_another(rows, machine, plan_one, beside_bytes=machine.process_bytes(1))


def _metal(machine: GpuGroup, question: StackRow) -> GpuGroup:
    """A Mac with what its GPU may wire: the Metal backend asks for the same limit."""
    if machine.gpu.vendor != "apple":
        return machine
    return replace(machine, gpu=replace(machine.gpu, free_at_start_bytes=wired_bytes(machine.gpu, question.wired_limit_mb)[0]))


def alone(question: StackRow, machine: GpuGroup, catalogue: Catalogue, *, is_ollama: bool) -> Plan:
    """The only server of a question, as it is asked. Raises PlannerError for what the engine cannot do."""
    machine = _metal(machine, question)
    return plan_as_asked(ask_of(question.services[0], machine, question, catalogue, is_ollama=is_ollama, is_main=True))


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


def _gpus(ask: GgufAsk, config: LlamaCppConfig) -> int:
    """GPUs used: by Ollama's rule, or all with llama.cpp's layer split."""
    if not ask.is_ollama:
        return ask.group.count
    return ollama.gpus_used(ollama.predicted_bytes(ask.model, config), ask.group.free_at_start_bytes(1), ask.group.count)


def _settled(ask: GgufAsk, config: LlamaCppConfig) -> LlamaCppConfig:
    """The configuration with what the engine sets by itself."""
    if not ask.is_ollama:  # a text whose tokens are pooled must fit one micro-batch (tools/server)
        return replace(config, ubatch=max(config.ubatch, config.context)) if ask.model.pooling else config
    config = replace(config, parallel=ollama.parallel(ask.model, config.parallel))
    predicted = ollama.predicted_bytes(ask.model, config)
    return replace(config, ubatch=ollama.batch(predicted, config.context * config.parallel, ask.group.free_at_start_bytes(1)))


def _surely(ask: GgufAsk, gpus: int) -> Room:
    """What is free of each GPU, and the margin that llama.cpp keeps there, wider by what an estimated total may be wrong."""
    errors = [member.free_error[0] for member in ask.group.members[:gpus]] if ask.group.cards else [ask.group.free_error[0]] * gpus
    return Room(free_bytes(ask.group, gpus), tuple(FIT_MARGIN_BYTES + error for error in errors))


def _fits(ask: GgufAsk, config: LlamaCppConfig) -> bool:
    """Whether all that is to lie on the GPUs does, with the margin that llama.cpp keeps."""
    settled = _settled(ask, config)
    return fits_whole(ask.model, settled, _surely(ask, _gpus(ask, settled)))


def longest(ask: GgufAsk, config: LlamaCppConfig) -> int:
    """The longest context before layers leave the GPU, in whole steps or the model's own limit; 0 where not even a short one fits."""
    limit = ask.model.max_context
    return longest_context(limit, lambda context: _fits(ask, replace(config, context=max(1, context))))


def _chosen(ask: GgufAsk) -> LlamaCppConfig:
    """16-bit cache before 8-bit where that makes all fit; else what llama.cpp's own fit leaves on the GPUs."""
    base = ask.pins.pinned(LlamaCppConfig(context=ask.context or 1, parallel=ask.users, gpu_layers=ask.gpu_layers, vision=ask.has_vision))
    kinds = (ask.kv_type,) if ask.kv_type else ("f16", "q8_0") if base.flash_attention else ("f16",)
    config, fitting = base, 0
    for kv_type in kinds:
        config = ask.pins.typed(replace(base, kv_type=kv_type, value_type=""))
        fitting = longest(ask, config)
        if ask.context is None:
            config = replace(config, context=max(fitting, min(_SHORTEST, ask.model.max_context)))
        if config.context <= fitting and (ask.context or config.context >= min(USEFUL_CONTEXT, ask.model.max_context)):
            return _settled(ask, config)
    if config.context <= fitting or ask.gpu_layers is not None:
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
    free = free_bytes(ask.group, _gpus(ask, config))
    return replace(config, placement=fitted(ask.model, config, Room(free, (FIT_MARGIN_BYTES,) * len(free))))


def plan_of(ask: GgufAsk, config: LlamaCppConfig, gpus: int) -> Plan:
    """The plan of one server whose configuration is settled: its ledger, and whether that fits."""
    return _plan(ask, config, ledger(ask.model, config, ask.group, gpus=gpus), gpus)


def _plan(ask: GgufAsk, config: LlamaCppConfig, held: LlamaCppLedger, gpus: int) -> Plan:
    free = longest(ask, replace(config, gpu_layers=None, placement=None))
    surely = held.available_bytes - FIT_MARGIN_BYTES - ask.group.free_error[0]
    settings = settings_of(config, held, gpus)
    plan = budgeted(
        Budget(_lines(ask, config, held), held.available_bytes, surely, is_estimated=ask.group.free_error != (0, 0)),
        engine="ollama" if ask.is_ollama else "llama.cpp",
        version=ollama.VERSION if ask.is_ollama else build_name(config.build),
        model=PlannedModel(
            id=ask.tag or ask.hub or ask.source,
            architecture=ask.model.architecture,
            quantization=ask.model.mix,
            max_position_embeddings=ask.model.max_context,
        ),
        group=ask.group,
        settings=settings,
        reasons=reasons_of(ask, config, held, gpus),
        context=config.context,
        users=config.parallel * config.sequences,
        longest_context=free,
        service=_service(ask, config, settings),
        layers=held.layers + 1,
        layers_on_gpu=held.layers_on_gpu,
        host_bytes=held.host.total_bytes,
        host_note=held.host_note,
        is_pinned_partial=ask.gpu_layers is not None,
    )
    if config.placement is not None and plan.verdict is Verdict.TIGHT:
        plan = replace(plan, verdict=Verdict.STARTS)  # llama.cpp measures what it places, and leaves its margin
    plan = within_ram(replace(plan, binds=binds(held, is_pinned=ask.gpu_layers is not None) or plan.binds) if plan.starts else plan, held.host_note)
    full = replace(ask, load=full_load(config.context, plan.service.longest_answer))
    slowest = slowest_s(speed(full, config, held, plan), config.parallel)
    plan = replace(plan, speed=speed(ask, config, held, plan), service=replace(plan.service, slowest_answer_s=slowest))
    return replace(plan, warnings=warnings(ask, config, held, plan))


def _lines(ask: GgufAsk, config: LlamaCppConfig, held: LlamaCppLedger) -> tuple[Line, ...]:
    gpu = held.fullest
    weights = (
        "the file's tensors"
        if ask.model.mix == "file"
        else f"{ask.model.mix}, exact"
        if ask.model.exact
        else f"{ask.model.mix}, other tensors by its main type"
    )
    lines = [
        _weights(gpu.weights_bytes, ask.model.weights_error_permille, weights),
        exactly("kv_cache", "KV cache", gpu.kv_cache_bytes),
        _derived("compute", "compute buffer", gpu.compute_bytes, "derived from llama.cpp's graph"),
    ]
    if pool := pool_bytes(ask.model, config):
        lines.append(_derived("pool", "CUDA's pool", pool, "16-bit copies of one layer's cache, made when the context is full; logs do not show them"))
    if gpu.mmproj_bytes:
        lines.append(exactly("mmproj", "vision projector", gpu.mmproj_bytes, "its weights in 16 bits"))
        lines.append(_derived("mmproj_compute", "its buffer", gpu.mmproj_compute_bytes, _image_note(ask)))
    return tuple(lines)


def _image_note(ask: GgufAsk) -> str:
    return "for an image of 46 x 46 tokens; " + ("larger ones take more" if ask.is_ollama else "--image-max-tokens scales larger ones to it")


def _weights(size: int, error: int, note: str) -> Line:
    """The weights; of a mix of others as its published files take them, with how far they lie from it."""
    if not error:
        return exactly("weights", "weights", size, note)
    low, high = size * (1000 - error) // 1000, size * (1000 + error) // 1000
    return Line(key="weights", name="weights", bytes=size, low_bytes=low, high_bytes=high, how=How.CALIBRATED, note="by published files of this mix")


def _derived(key: str, name: str, size: int, note: str) -> Line:
    """A term derived from llama.cpp's graph, with what it was off by."""
    return Line(key=key, name=name, bytes=size, low_bytes=int(size * _COMPUTE_LOW), high_bytes=int(size * COMPUTE_HIGH), how=How.DERIVED, note=note)


def _service(ask: GgufAsk, config: LlamaCppConfig, settings: tuple[tuple[str, int | float | str | bool], ...]) -> Service:
    argv, env, health = _ollama_command(ask, config) if ask.is_ollama else (_server_argv(ask, config), {}, "/health")
    name = ollama_name(ask) if ask.is_ollama else ask.served_name
    chat = (ask.origin and ask.origin.chat) or ChatFormat()
    return Service(
        name=ask.name,
        task="embedding" if ask.model.pooling else "chat",
        engine="ollama" if ask.is_ollama else "llama.cpp",
        version=ollama.VERSION if ask.is_ollama else LLAMA_CPP_VERSION,
        model=ask.tag or (ask.source if ask.is_ollama else ask.hub or ask.source),
        served_name=name,
        alias=ask.served_name,
        argv=() if ask.shares_process else argv,
        host=ask.host,
        port=ask.port,
        env=env,
        health=health,
        gpus=tuple(range(ask.group.count)),
        settings=dict(settings) | {"max_model_len": config.context} | _kept(ask),
        notes=(f"{tokens(config.context)} tokens of context for {_sharing(config)} at a time",),
        weights_bytes=ask.model.file_bytes + ask.model.mmproj_bytes,
        is_mistral=False,  # neither engine knows continue_final_message: a trailing assistant message is continued by itself
        has_vision=config.vision,
        calls_tools=chat.tool_parser is not None,  # both read calls by the chat template; of an unknown one nothing is promised
        reasons=chat.reasoning_parser is not None,
        users=config.parallel * config.sequences,
        sampling=ask.sampling,
    )


def _sharing(config: LlamaCppConfig) -> str:
    return f"all of {config.sequences} together" if config.sequences > 1 else f"each of {config.parallel}"


def _kept(ask: GgufAsk) -> dict[str, int | float | str | bool]:
    """What setup.sh and the Modelfile must know beside the settings."""
    pinned: dict[str, int | float | str | bool] = {} if ask.gpu_layers is None else {"gpu_layers_pinned": ask.gpu_layers}
    return pinned | ({"made_from": ask.made_from, "made_mix": ask.model.mix} if ask.made_from else {})


def ollama_name(ask: GgufAsk) -> str:
    """The model that the Modelfile makes: the tag with this context, so that the library's own stays as it is."""
    return f"{ask.served_name}-planned"


def _ollama_command(ask: GgufAsk, config: LlamaCppConfig) -> tuple[tuple[str, ...], dict[str, str], str]:
    env = {
        "OLLAMA_HOST": f"{ask.host}:{ask.port}",
        "OLLAMA_CONTEXT_LENGTH": str(config.context),
        "OLLAMA_NUM_PARALLEL": str(config.parallel),
        "OLLAMA_FLASH_ATTENTION": str(int(config.flash_attention)),
        "OLLAMA_KV_CACHE_TYPE": config.kv_type,
        "OLLAMA_MAX_LOADED_MODELS": str(ask.models),
    }
    return ("ollama", "serve"), env, "/api/version"


def _server_argv(ask: GgufAsk, config: LlamaCppConfig) -> tuple[str, ...]:
    argv = ["llama-server", *(("--hf-repo", ask.hub) if ask.hub else ("--model", ask.source))]  # a repository's projector is loaded with it
    if config.vision and ask.model.mmproj_bytes and not ask.hub:
        argv += ["--mmproj", projector_name(ask.source)]
    if config.vision and ask.model.mmproj_bytes:  # a larger image would take a buffer that nobody planned
        argv += ["--image-max-tokens", str(config.image_tokens or WARMUP_TOKENS)]
    argv += ["--alias", ask.served_name, "--host", ask.host, "--port", str(ask.port)]
    argv += ["--ctx-size", str(config.context * config.parallel), "--parallel", str(config.parallel * config.sequences)]
    argv += ["--kv-unified"] * (config.sequences > 1)
    if config.placement is None:
        argv += ["--n-gpu-layers", "all" if config.gpu_layers is None else str(config.gpu_layers)]
    else:
        argv += ["--fit", "on"]  # a number of layers would switch it off
    argv += ["--batch-size", str(ask.pins.batch or max(BATCH, config.ubatch)), "--ubatch-size", str(config.ubatch)]
    argv += ["--flash-attn", "on" if config.flash_attention else "off"]
    if (config.kv_type, config.value_type) != ("f16", ""):
        argv += ["--cache-type-k", config.kv_type, "--cache-type-v", config.value_type or config.kv_type]
    if ask.has_vision and ask.hub and not config.vision:
        argv += ["--no-mmproj"]
    if ask.model.pooling:
        argv += ["--embeddings"]
    return (*argv, "--jinja")
