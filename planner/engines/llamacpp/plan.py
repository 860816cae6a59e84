"""Plan llama.cpp's server or Ollama for a GGUF model: context, cache type, which layers on which GPUs, what to warn an agent of."""

from __future__ import annotations

from dataclasses import replace

from planner.engines import Placement
from planner.engines.budget import Budget, budgeted
from planner.engines.catalogue import Catalogue
from planner.engines.llamacpp import ollama
from planner.engines.llamacpp.alternatives import alternatives
from planner.engines.llamacpp.ask import GgufAsk, ask_of
from planner.engines.llamacpp.making import projector_name
from planner.engines.llamacpp.memory import FIT_MARGIN_BYTES, LlamaCppConfig, LlamaCppLedger, ledger
from planner.engines.llamacpp.pace import gguf_weights
from planner.engines.llamacpp.warn import warnings
from planner.engines.metal import check_wired_limit, wired_bytes
from planner.engines.naming import named
from planner.engines.pace import local_estimate, local_work
from planner.engines.sequence import one_after_another
from planner.errors import PlannerError
from planner.facts.context import USEFUL_CONTEXT
from planner.facts.deployment import Service
from planner.facts.hardware import GpuGroup
from planner.facts.model import ChatFormat
from planner.facts.plan import How, Line, Plan, PlannedModel, exactly, longest_context
from planner.facts.question import ServiceRow, StackRow
from planner.facts.speed import NoSpeed, SpeedEstimate, full_load, no_start, slowest_s
from planner.units import largest, tokens

LLAMA_CPP_VERSION = ollama.BUILD
_COMPUTE_LOW, COMPUTE_HIGH = 0.95, 1.12  # of the derived compute buffer: the CUDA logs and the oracle's worst


def placement(question: StackRow, machine: GpuGroup, first_port: int, catalogue: Catalogue, *, is_ollama: bool) -> Placement:
    """The servers of a question on one machine. Raises PlannerError for what the engine cannot do."""
    check_wired_limit(machine.gpu, question.wired_limit_mb)
    if machine.gpu.vendor == "apple":  # the Metal backend asks for the same limit
        machine = replace(machine, gpu=replace(machine.gpu, free_at_start_bytes=wired_bytes(machine.gpu, question.wired_limit_mb)[0]))
    pooling = [not service.model.endswith(".gguf") and catalogue.find_plain(service.model).spec.pooling for service in question.services]
    shared_port = (question.services[0].port or first_port) if is_ollama else None
    rows = named(question.services, pooling, first_port=first_port, proxy_port=question.proxy_port, shared_port=shared_port)

    def plan_one(row: ServiceRow, group: GpuGroup, is_main: bool) -> Plan:
        return plan_gguf(ask_of(row, group, question, catalogue, is_ollama=is_ollama, is_main=is_main))

    return one_after_another(rows, machine, plan_one, beside_bytes=machine.process_bytes(1))


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
    if ask.is_ollama and ask.kv_type and ask.kv_type not in ollama.KV_TYPES:
        raise PlannerError(f"Ollama has no KV cache type {ask.kv_type}", f"one of {', '.join(ollama.KV_TYPES)}")


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


def _surely_available(ask: GgufAsk, held: LlamaCppLedger) -> int:
    """Bytes of one GPU less the margin that llama.cpp keeps, and less by what an estimated total may be wrong."""
    return held.available_bytes - FIT_MARGIN_BYTES - ask.group.free_error[0]


def _fits(ask: GgufAsk, config: LlamaCppConfig) -> bool:
    """Whether all layers stay on the GPUs, with the margin that llama.cpp keeps."""
    settled = _settled(ask, config)
    held = ledger(ask.model, settled, ask.group, gpus=_gpus(ask, settled))
    return held.used_bytes <= _surely_available(ask, held)


def longest(ask: GgufAsk, config: LlamaCppConfig) -> int:
    """The longest context before layers leave the GPU, in whole steps or the model's own limit; 0 where not even a short one fits."""
    limit = ask.model.max_context
    return longest_context(limit, lambda context: _fits(ask, replace(config, context=max(1, context))))


def _chosen(ask: GgufAsk) -> LlamaCppConfig:
    """16-bit cache before 8-bit, then fewer layers on the GPU: the first that holds what is asked."""
    base = LlamaCppConfig(context=ask.context or 1, parallel=ask.users, gpu_layers=ask.gpu_layers, vision=ask.has_vision)
    config = base
    for kv_type in (ask.kv_type,) if ask.kv_type else ("f16", "q8_0"):
        config = replace(base, kv_type=kv_type)
        fitting = longest(ask, config)
        if ask.context is None:
            config = replace(config, context=max(fitting, min(4096, ask.model.max_context)))
        if config.context <= fitting and (ask.context or config.context >= min(USEFUL_CONTEXT, ask.model.max_context)):
            return _settled(ask, config)
    config = _settled(ask, config)
    if ask.gpu_layers is None and not _fits(ask, config):
        config = replace(config, gpu_layers=_largest_layers(ask, config))
    return config


def _largest_layers(ask: GgufAsk, config: LlamaCppConfig) -> int:
    return largest(ask.model.layer_count, lambda count: _fits(ask, replace(config, gpu_layers=count)))


def plan_of(ask: GgufAsk, config: LlamaCppConfig, gpus: int) -> Plan:
    """The plan of one server whose configuration is settled: its ledger, and whether that fits."""
    return _plan(ask, config, ledger(ask.model, config, ask.group, gpus=gpus), gpus)


def _plan(ask: GgufAsk, config: LlamaCppConfig, held: LlamaCppLedger, gpus: int) -> Plan:
    free = longest(ask, replace(config, gpu_layers=None))
    settings = _settings(ask, config, gpus)
    plan = budgeted(
        Budget(_lines(ask, held), held.available_bytes, _surely_available(ask, held), is_estimated=ask.group.free_error != (0, 0)),
        engine="ollama" if ask.is_ollama else "llama.cpp",
        version=ollama.VERSION if ask.is_ollama else LLAMA_CPP_VERSION,
        model=PlannedModel(
            id=ask.tag or ask.hub or ask.source,
            architecture=ask.model.architecture,
            quantization=ask.model.mix,
            max_position_embeddings=ask.model.max_context,
        ),
        group=ask.group,
        settings=settings,
        reasons=_reasons(ask, config, held, gpus),
        context=config.context,
        users=config.parallel,
        longest_context=free,
        service=_service(ask, config, settings),
        layers=held.layers + 1,
        layers_on_gpu=held.layers_on_gpu,
        host_bytes=held.host_weights_bytes + held.host_kv_cache_bytes,
        host_note="token embeddings, and layers that are not on the GPU",
        is_pinned_partial=ask.gpu_layers is not None,
    )
    full = replace(ask, load=full_load(config.context, plan.service.longest_answer))
    slowest = slowest_s(_speed(full, config, gpus, plan), config.parallel)
    return replace(plan, warnings=warnings(ask, config, plan), speed=_speed(ask, config, gpus, plan), service=replace(plan.service, slowest_answer_s=slowest))


def _speed(ask: GgufAsk, config: LlamaCppConfig, gpus: int, plan: Plan) -> SpeedEstimate | NoSpeed:
    if plan.verdict.falls_short:
        return no_start(plan.verdict)
    if not plan.is_whole:
        return NoSpeed(f"{plan.layers - plan.layers_on_gpu} of {plan.layers} layers run on the CPU, whose memory bandwidth is not known")
    if ask.origin is None:
        return NoSpeed("a GGUF file alone does not tell how its layers compute; name the model it was made of with --model and --quantization")
    kv_bits = {"q8_0": 8, "q4_0": 4}.get(config.kv_type, 16)
    held, widened = gguf_weights(ask.origin, ask.model), ask.model.mix not in ("F16", "BF16", "F32")
    work = local_work("llamacpp", ask.origin, ask.group.gpu, held, stages=gpus, kv_bits=kv_bits, widened=widened)
    return work if isinstance(work, NoSpeed) else local_estimate(work, ask.origin, ask.group, config.context, ask.load)


def _lines(ask: GgufAsk, held: LlamaCppLedger) -> tuple[Line, ...]:
    weights = (
        "the file's tensors"
        if ask.model.mix == "file"
        else f"{ask.model.mix}, exact"
        if ask.model.exact
        else f"{ask.model.mix}, other tensors by its main type"
    )
    lines = [
        exactly("weights", "weights", held.weights_bytes, weights),
        exactly("kv_cache", "KV cache", held.kv_cache_bytes),
        _derived("compute", "compute buffer", held.compute_bytes, "derived from llama.cpp's graph"),
    ]
    if held.mmproj_bytes:
        lines.append(exactly("mmproj", "vision projector", held.mmproj_bytes, "its weights in 16 bits"))
        lines.append(_derived("mmproj_compute", "its buffer", held.mmproj_compute_bytes, "for an image of 46 x 46 tokens; larger ones take more"))
    return tuple(lines)


def _derived(key: str, name: str, size: int, note: str) -> Line:
    """A term derived from llama.cpp's graph, with what it was off by."""
    return Line(key=key, name=name, bytes=size, low_bytes=int(size * _COMPUTE_LOW), high_bytes=int(size * COMPUTE_HIGH), how=How.DERIVED, note=note)


def _settings(ask: GgufAsk, config: LlamaCppConfig, gpus: int) -> tuple[tuple[str, int | float | str | bool], ...]:
    layers = ask.model.layer_count + 1 if config.gpu_layers is None else config.gpu_layers
    names = ("context", "parallel", "kv_cache_type", "flash_attention", "batch", "gpu_layers", "gpus")
    return tuple(zip(names, (config.context, config.parallel, config.kv_type, config.flash_attention, config.ubatch, layers, gpus), strict=True))


def _reasons(ask: GgufAsk, config: LlamaCppConfig, held: LlamaCppLedger, gpus: int) -> tuple[tuple[str, str], ...]:
    forced = ask.is_ollama and config.parallel < ask.users
    all_gpus = "one GPU" if ask.group.count == 1 else "80 % of one GPU suffice (Ollama's rule)" if gpus == 1 else "layers are divided over all of them"
    return (
        ("context", "as asked" if ask.context else "the longest before layers leave the GPU" if held.is_whole else "the shortest that is useful"),
        ("parallel", "Ollama runs one request of this model at a time" if forced else "one for each user, each with its own context"),
        ("kv_cache_type", "pinned" if ask.kv_type else "16-bit fits" if config.kv_type == "f16" else "16-bit would not fit; 8-bit is 53 % of it"),
        ("flash_attention", "keeps the compute buffer small at any context; a quantized cache needs it"),
        ("batch", _batch_reason(ask)),
        (
            "gpu_layers",
            "pinned" if ask.gpu_layers is not None else "all, output included" if held.is_whole else "as many as fit; the first ones run on the CPU",
        ),
        ("gpus", all_gpus),
    )


def _batch_reason(ask: GgufAsk) -> str:
    if ask.is_ollama:
        return "Ollama's choice for this context and memory"
    return "a text that is embedded must fit one micro-batch" if ask.model.pooling else "llama.cpp's default micro-batch"


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
        notes=(f"{tokens(config.context)} tokens of context for each of {config.parallel} at a time",),
        weights_bytes=ask.model.file_bytes + ask.model.mmproj_bytes,
        is_mistral=False,  # neither engine knows continue_final_message: a trailing assistant message is continued by itself
        has_vision=ask.has_vision,
        calls_tools=chat.tool_parser is not None,  # both read calls by the chat template; of an unknown one nothing is promised
        reasons=chat.reasoning_parser is not None,
        users=config.parallel,
        sampling=ask.sampling,
    )


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
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_KV_CACHE_TYPE": config.kv_type,
        "OLLAMA_MAX_LOADED_MODELS": str(ask.models),
    }
    return ("ollama", "serve"), env, "/api/version"


def _server_argv(ask: GgufAsk, config: LlamaCppConfig) -> tuple[str, ...]:
    argv = ["llama-server", *(("--hf-repo", ask.hub) if ask.hub else ("--model", ask.source))]  # a repository's projector is loaded with it
    if ask.has_vision and ask.model.mmproj_bytes and not ask.hub:
        argv += ["--mmproj", projector_name(ask.source)]
    argv += ["--alias", ask.served_name, "--host", ask.host, "--port", str(ask.port)]
    argv += ["--ctx-size", str(config.context * config.parallel), "--parallel", str(config.parallel)]
    argv += ["--n-gpu-layers", "all" if config.gpu_layers is None else str(config.gpu_layers)]
    argv += ["--batch-size", str(max(2048, config.ubatch)), "--ubatch-size", str(config.ubatch), "--flash-attn", "on"]
    if config.kv_type != "f16":
        argv += ["--cache-type-k", config.kv_type, "--cache-type-v", config.kv_type]
    if ask.model.pooling:
        argv += ["--embeddings"]
    return (*argv, "--jinja")
