"""What a plan of llama.cpp or Ollama starts: the command or the environment, and what setup.sh and a proxy must know of it."""

from __future__ import annotations

from planner.engines.llamacpp import ollama
from planner.engines.llamacpp.ask import GgufAsk
from planner.engines.llamacpp.backend import Backend, backend_of
from planner.engines.llamacpp.encoding import is_encoder
from planner.engines.llamacpp.making import projector_name
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.pins import BATCH
from planner.engines.llamacpp.projector import WARMUP_TOKENS
from planner.engines.llamacpp.settings import SETTINGS
from planner.facts.deployment import Service
from planner.facts.model import ChatFormat
from planner.units import tokens


def service_of(ask: GgufAsk, config: LlamaCppConfig, settings: tuple[tuple[str, int | float | str | bool], ...]) -> Service:
    """The server that a plan starts."""
    argv, env, health = _ollama_command(ask, config) if ask.is_ollama else (_server_argv(ask, config), {}, "/health")
    name = ollama_name(ask) if ask.is_ollama else ask.served_name
    chat = (ask.origin and ask.origin.chat) or ChatFormat()
    return Service(
        name=ask.name,
        task="embedding" if ask.model.pooling else "chat",
        engine="ollama" if ask.is_ollama else "llama.cpp",
        version=ollama.VERSION if ask.is_ollama else ollama.BUILD,
        model=ask.tag or (ask.source if ask.is_ollama else ask.hub or ask.source),
        served_name=name,
        alias=ask.served_name,
        argv=() if ask.shares_process else argv,
        host=ask.host,
        port=ask.port,
        env=env,
        health=health,
        gpus=tuple(range(ask.visible or ask.group.count)),
        settings=dict(settings) | {"max_model_len": config.context} | _kept(ask, config),
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


def _kept(ask: GgufAsk, config: LlamaCppConfig) -> dict[str, int | float | str | bool]:
    """What setup.sh and the Modelfile must know beside the settings."""
    pinned: dict[str, int | float | str | bool] = {} if ask.gpu_layers is None else {"gpu_layers_pinned": ask.gpu_layers}
    if backend_of("", str(dict(ask.pins.by_hand).get("device") or "")) is Backend.VULKAN:
        pinned["image_for"] = Backend.VULKAN
    if beside := projector_of(ask, config):
        pinned["projector"] = beside
    return pinned | ({"made_from": ask.made_from, "made_mix": ask.model.mix} if ask.made_from else {})


def projector_of(ask: GgufAsk, config: LlamaCppConfig) -> str:
    """The file of the vision projector that lies beside the model's; empty where a repository or a tag brings it, or none is loaded."""
    return projector_name(ask.source) if config.vision and ask.model.mmproj_bytes and not ask.hub and not ask.tag else ""


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


def _flash(ask: GgufAsk, config: LlamaCppConfig) -> str:
    """Asked for, unless it is an encoder's: where the card has no kernel for its heads, asking would move its attention to main memory."""
    if not config.flash_attention:
        return "off"
    return "auto" if is_encoder(ask.model) and not config.insists_on_flash else "on"


def _server_argv(ask: GgufAsk, config: LlamaCppConfig) -> tuple[str, ...]:
    argv = ["llama-server", *(("--hf-repo", ask.hub) if ask.hub else ("--model", ask.source))]  # a repository's projector is loaded with it
    if beside := projector_of(ask, config):
        argv += ["--mmproj", beside]
    if config.vision and ask.model.mmproj_bytes:  # a larger image would take a buffer that nobody planned
        argv += ["--image-max-tokens", str(config.image_tokens or WARMUP_TOKENS)]
        argv += ["--image-min-tokens", str(ask.pins.least_image)] if ask.pins.least_image else []
    argv += ["--alias", ask.served_name, "--host", ask.host, "--port", str(ask.port)]
    argv += ["--ctx-size", str(config.context * config.parallel), "--parallel", str(config.parallel * config.sequences)]
    argv += ["--kv-unified"] * (config.sequences > 1)
    if config.placement is None:
        argv += ["--n-gpu-layers", "all" if config.gpu_layers is None else str(config.gpu_layers)]
    else:
        argv += ["--fit", "on"]  # a number of layers would switch it off
    said = dict((*ask.pins.by_hand, *ask.drafting.settings))
    argv += [word for row in SETTINGS if row.name in said for word in row.words(said[row.name])]
    argv += ["--batch-size", str(ask.pins.batch or max(BATCH, config.ubatch)), "--ubatch-size", str(config.ubatch)]
    argv += ["--flash-attn", _flash(ask, config)]
    if (config.kv_type, config.value_type) != ("f16", ""):
        argv += ["--cache-type-k", config.kv_type, "--cache-type-v", config.value_type or config.kv_type]
    if ask.has_vision and ask.hub and not config.vision:
        argv += ["--no-mmproj"]
    if ask.model.pooling:
        argv += ["--embeddings"]
    return (*argv, "--jinja")
