"""The settings of a plan of llama.cpp or Ollama, and why each is what it is."""

from __future__ import annotations

from planner.engines.llamacpp.ask import GgufAsk
from planner.engines.llamacpp.encoding import is_encoder
from planner.engines.llamacpp.layers import Placement
from planner.engines.llamacpp.ledger import LlamaCppLedger
from planner.engines.llamacpp.memory import LlamaCppConfig


def settings_of(config: LlamaCppConfig, held: LlamaCppLedger, gpus: int) -> tuple[tuple[str, int | float | str | bool], ...]:
    """The settings of an answer, by their names in the JSON."""
    names = ("context", "parallel", "kv_cache_type", "flash_attention", "batch", "gpu_layers", "gpus")
    layers = min(held.layers_on_gpu, held.layers + 1)
    values = (config.context, config.parallel * config.sequences, config.kv_type, config.flash_attention, config.ubatch, layers, gpus)
    experts = (("n_cpu_moe", held.placement.divided),) if held.placement.divided else ()
    shared = (("kv_unified", True),) if config.sequences > 1 else ()
    values_type = (("v_cache_type", config.value_type),) if config.value_type not in ("", config.kv_type) else ()
    drafted = (("spec_draft_n_max", config.drafted),) if config.drafted else ()
    return (*zip(names, values, strict=True), *shared, *values_type, *experts, *drafted)


def reasons_of(ask: GgufAsk, config: LlamaCppConfig, held: LlamaCppLedger, gpus: int, *, narrower: Placement | None = None) -> tuple[tuple[str, str], ...]:
    """Each setting with what decided it. `narrower`: where a cache in 8 bits would have the layers lie, if it is a choice that was not made."""
    forced = ask.is_ollama and config.parallel < ask.users
    all_gpus = "one GPU" if ask.group.count == 1 else "80 % of one GPU suffice (Ollama's rule)" if gpus == 1 else "layers are divided over all of them"
    return (
        ("context", "as asked" if ask.context else "the longest before layers leave the GPU" if held.is_whole else "the shortest that is useful"),
        ("parallel", "Ollama runs one request of this model at a time" if forced else _why_slots(ask, config)),
        ("kv_cache_type", "pinned" if ask.kv_type or ask.pins.key_type else _why_cache(config, held, narrower)),
        ("flash_attention", "pinned" if ask.pins.flash_attention is not None else _WHY_AUTO if is_encoder(ask.model) else _WHY_FLASH),
        ("batch", _batch_reason(ask)),
        ("gpu_layers", "pinned" if ask.gpu_layers is not None else _why_layers(held)),
        ("gpus", all_gpus),
        *((("n_cpu_moe", _why_experts(ask, held.placement.divided)),) if held.placement.divided else ()),
    )


def _why_experts(ask: GgufAsk, divided: int) -> str:
    by_hand = "" if ask.is_ollama else f"; by hand --n-cpu-moe {divided}"
    return f"layers whose experts lie in main memory, all or some: llama.cpp's own fit{by_hand}"


_WHY_AUTO = "left to llama.cpp, which takes it where the card has a kernel for this model's heads"
_WHY_FLASH = "keeps the compute buffer small at any context; a quantized cache needs it"


def _why_slots(ask: GgufAsk, config: LlamaCppConfig) -> str:
    if config.sequences > 1:
        return "they share the context"
    return "pinned, each with its own context" if ask.pins.slots else "one for each user, each with its own context"


def _batch_reason(ask: GgufAsk) -> str:
    if ask.pins.batch or ask.pins.ubatch:
        return "pinned"
    if ask.is_ollama:
        return "Ollama's choice for this context and memory"
    return "a text that is embedded must fit one micro-batch" if ask.model.pooling else "llama.cpp's default micro-batch"


def _why_cache(config: LlamaCppConfig, held: LlamaCppLedger, narrower: Placement | None) -> str:
    if config.kv_type != "f16":
        return "16-bit would not fit; 8-bit is 53 % of it"
    if config.placement is None:
        return "16-bit fits"
    if narrower and narrower.layers_on_gpu > held.layers_on_gpu:
        return f"8-bit would not make all fit, but have {narrower.layers_on_gpu} of {held.layers + 1} layers on the GPU: --kv-cache-dtype q8_0"
    if narrower and narrower.layers_on_gpu == held.layers_on_gpu and narrower.divided < held.placement.divided:
        return (
            f"8-bit would not make all fit, but leave experts of {narrower.divided} layers outside instead of {held.placement.divided}: --kv-cache-dtype q8_0"
        )
    return "8-bit would not make all fit"


def _why_layers(held: LlamaCppLedger) -> str:
    if held.layers_on_gpu > held.layers:
        return "all, output included" if held.is_whole else "all, output included; of some the experts lie in main memory"
    return "as many as fit; the first ones run on the CPU"
