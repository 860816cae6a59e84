"""Ollama before 0.30, which ran models itself: by its own engine, or by a llama.cpp that it placed layers for.

Sources: ollama llm/server.go assignLayers and findBestFit, fs/ggml/ggml.go OllamaEngineRequired, kvcache/recurrent.go (as of 0.20); 0.30.0 of June 2026
replaced all of it by llama-server (ollama#16031).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import assert_never

from planner.engines.llamacpp.layers import MAIN_MEMORY, Placement
from planner.engines.llamacpp.ledger import ledger_of
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.model import GgufModel
from planner.engines.llamacpp.ollama_estimate import LEFT_FREE, layers_estimated
from planner.facts.attention import Attention, ChunkedLocal, CompressedCache, CrossAttention, FullAttention, LatentAttention, RecurrentState, SlidingWindow
from planner.units import largest

FIRST_WITH_LLAMA_SERVER = (0, 30)
FIRST_WITH_FITTED_DRAFTS = (0, 33)
BATCH = 512  # num_batch of those releases, whatever the context (api/types.go DefaultOptions)
_EMBEDDED_WHOLE = (0, 13, 3)  # since when llama.cpp got a batch as long as the context for what has a pooling (ollama#13429)
SNAPSHOTS = 24  # that its engine keeps of each recurrent state beside the state itself (kvcache/recurrent.go DefaultCheckpointCount)
_EVER, _NEVER = (0,), (1,)
# Architectures that its engine ran, since which release, and since which with flash attention unasked (fs/ggml/ggml.go OllamaEngineRequired, FlashAttention
# of every release); all others ran by llama.cpp.
_OWN: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "bert": ((0, 13, 5), (0, 13, 5)),
    "deepseek2": ((0, 13), _NEVER),
    "deepseekv2": ((0, 13), _NEVER),
    "deepseekv3": ((0, 13), _NEVER),
    "deepseekocr": ((0, 13), _NEVER),
    "gemma3": ((0, 6), (0, 12, 6)),
    "gemma3n": ((0, 9, 3), _NEVER),
    "gemma4": ((0, 20), (0, 20, 4)),
    "glm4moelite": ((0, 14, 3), (0, 14, 3)),
    "glmocr": ((0, 15, 5), (0, 15, 5)),
    "gptoss": ((0, 11), (0, 11, 8)),
    "lfm2": ((0, 14, 3), (0, 14, 3)),
    "lfm2moe": ((0, 17, 1), (0, 17, 1)),
    "llama4": ((0, 6, 7), _NEVER),
    "mistral3": ((0, 6, 5), (0, 13, 2)),
    "mllama": ((0, 7), _NEVER),
    "nemotronh": ((0, 17, 1), (0, 17, 1)),
    "nomicbert": ((0, 13, 1), _NEVER),
    "olmo3": ((0, 13, 4), (0, 13, 4)),
    "qwen25vl": ((0, 7), _NEVER),
    "qwen3": ((0, 12), (0, 12, 4)),
    "qwen3moe": ((0, 12, 2), (0, 12, 4)),
    "qwen3next": ((0, 15, 5), (0, 15, 5)),
    "qwen3vl": ((0, 12, 7), (0, 12, 8)),
    "qwen35": ((0, 17, 1), (0, 17, 1)),
}
_WINDOW_MEMORY = {"gptoss": 4096, "gemma4": 4096}  # tokens that layers with a window keep of a request, however short it is (NewSWAMemCache in their model.go)
# In llama.cpp flash attention was off without being asked for until 0.14 left it to llama.cpp (0.13.5's buffers of phi4, ollama#13552, are those without).
_FLASH_LEFT_TO_LLAMA_CPP = (0, 14)
# llama.cpp's build that a release has the kernels of, and ran models by: that of the day of the commit it names (llama/vendoring, Makefile.sync).
_BUILDS = (
    ((0, 13, 2), 7440),  # December 2025
    ((0, 12, 11), 7060),
    ((0, 12, 6), 6750),
    ((0, 12, 4), 6650),
    ((0, 11, 5), 6140),  # August 2025
    ((0, 7), 5370),  # May 2025
    ((0, 6, 6), 5200),
    ((0, 5, 13), 4770),  # February 2025
    (_EVER, 4100),  # November 2024
)
# What a release took where nobody said: tokens of a request, 0 by the GPUs' memory, and the most requests at a time; of several it took the most that fits
# whole on the GPUs, else one (envconfig/config.go, api/types.go, server/sched.go, server/routes.go of every release).
_DEFAULTS = (
    ((0, 15, 5), 0, 1),  # February 2026
    ((0, 10), 4096, 1),
    ((0, 6, 7), 4096, 2),
    ((0, 2), 2048, 4),
    (_EVER, 2048, 1),
)
# Variables, since which release it reads them (envconfig/config.go).
_READ_SINCE = {"context_length": (0, 5, 13), "kv_cache_type": (0, 5), "flash_attention": (0, 1, 39), "num_parallel": (0, 1, 33)}
# Types of a cache that these releases passed on, and only with flash attention (fs/ggml/ggml.go SupportsKVCacheType; llm/server.go).
_QUANTIZED = ("q8_0", "q4_0")
_SINKS_IN_16_BITS = ((0, 11, 3), (0, 12, 4))  # gpt-oss had none of them between these
_GEMMA2_WITHOUT_FLASH = (0, 12)  # since then


def is_earlier(version: str | None) -> bool:
    """Whether a release ("0.20.1") is one that placed layers itself; of one that is not said none is."""
    return is_before(version, FIRST_WITH_LLAMA_SERVER)


def is_before(version: str | None, first: tuple[int, ...]) -> bool:
    """Whether a release is earlier than another; of one that is not said it is not."""
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version or "")
    return match is not None and tuple(int(part or 0) for part in match.groups()) < first


def runs_itself(architecture: str, version: str | None) -> bool:
    """Whether a release of Ollama ran an architecture by its own engine."""
    return not is_before(version, _since(architecture)[0])


def earlier(model: GgufModel, config: LlamaCppConfig, version: str | None, *, asks_for_flash: bool) -> LlamaCppConfig:
    """A configuration as such a release held it: by the llama.cpp of its day, or its own engine.

    That keeps snapshots of recurrent states, reserves logits of one token a request (runner/ollamarunner/runner.go reserveWorstCaseGraph), and has flash
    attention where the release turned it on. A quantized cache needs flash attention, of llama.cpp one that is asked for (llm/server.go).
    """
    build = next(build for first, build in _BUILDS if not is_before(version, first))
    own = runs_itself(model.architecture, version)
    is_on = not is_before(version, _since(model.architecture)[1] if own else _FLASH_LEFT_TO_LLAMA_CPP)
    flash = config.flash_attention and (asks_for_flash or is_on) and (_has_flash(model, version) or not (own or asks_for_flash))
    is_kept = config.kv_type in _QUANTIZED and flash and (own or asks_for_flash) and not _has_sinks_in_16_bits(model, version)
    return replace(
        config,
        build=build,
        flash_attention=flash,
        kv_type=config.kv_type if is_kept else "f16",
        snapshots=SNAPSHOTS if model.has_state and own else 0,
        window_memory=_WINDOW_MEMORY.get(_known(model.architecture), 0) if own else 0,
        own_engine=own,
    )


def batch(model: GgufModel, config: LlamaCppConfig, version: str | None) -> int:
    """Tokens of a micro-batch of such a release; where llama.cpp embeds, a text of the whole context."""
    is_whole = model.pooling and not config.own_engine and not is_before(version, _EMBEDDED_WHOLE)
    return config.context if is_whole else min(BATCH, config.context)


def _has_flash(model: GgufModel, version: str | None) -> bool:
    """Whether Ollama lets a model have flash attention (fs/ggml/ggml.go SupportsFlashAttention): keys are as wide as values."""
    if model.pooling or (model.architecture.lower().startswith("gemma2") and not is_before(version, _GEMMA2_WITHOUT_FLASH)):
        return False
    return all(_takes_flash(cache) for cache, _ in model.caches)


def _takes_flash(cache: Attention) -> bool:
    match cache:
        case FullAttention() | SlidingWindow() | ChunkedLocal() | CrossAttention():
            return cache.head_dim == cache.head_dim_v
        case LatentAttention() | CompressedCache():
            return False
        case RecurrentState():
            return True
        case _:
            assert_never(cache)


def _has_sinks_in_16_bits(model: GgufModel, version: str | None) -> bool:
    first, after = _SINKS_IN_16_BITS
    return _known(model.architecture) == "gptoss" and is_before(version, after) and not is_before(version, first)


def unread(settings: Iterable[str], version: str | None) -> list[str]:
    """The settings that a release does not read yet."""
    return [name for name in settings if is_before(version, _READ_SINCE.get(name, _EVER))]


def default_context(version: str | None) -> int:
    """Tokens of a request where nobody sets them; 0: by the memory of all GPUs."""
    return next((tokens for first, tokens, _ in _DEFAULTS if not is_before(version, first)), 0)


def at_once(model: GgufModel, config: LlamaCppConfig, version: str | None, free_bytes: Sequence[int]) -> int:
    """Requests at a time where nobody sets them: the most that a release tried where all fits whole on one GPU or all of them by its estimate, else one."""
    most = next(most for first, _, most in _DEFAULTS if not is_before(version, first))
    together = sum(free_bytes) - (len(free_bytes) - 1) * LEFT_FREE
    for free in (free_bytes[0], together):
        for ways in (most, 1):
            if layers_estimated(model, replace(config, parallel=ways, ubatch=BATCH), free) > model.layer_count:
                return ways
    return 1


def _since(architecture: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The releases since which its engine ran an architecture, and did with flash attention."""
    return _OWN.get(_known(architecture), (_NEVER, _NEVER))


def _known(architecture: str) -> str:
    """The longest name in the list that begins an architecture's: Hugging Face has a class of it."""
    plain = re.sub(r"[_-]", "", architecture.lower())
    return max((name for name in _OWN if plain.startswith(name)), key=len, default="")


def placed_whole(model: GgufModel, config: LlamaCppConfig, free_bytes: int) -> LlamaCppConfig:
    """Whole layers on one GPU: all, or without the output the last ones that fit; for llama.cpp as many as the release estimated."""
    if not config.own_engine:
        layers = layers_estimated(model, config, free_bytes)
        return config if layers > model.layer_count else replace(config, placement=_last(model.layer_count, layers))
    room = free_bytes - LEFT_FREE
    if _used(model, config, room) <= room:
        return config
    count = model.layer_count
    return replace(config, placement=_last(count, largest(count, lambda layers: _used(model, replace(config, placement=_last(count, layers)), room) <= room)))


def _used(model: GgufModel, config: LlamaCppConfig, room: int) -> int:
    return ledger_of(model, config, (room,)).used_bytes


def _last(count: int, layers: int) -> Placement:
    """The last so many layers of a model on the first GPU, the output in main memory."""
    gpus = (MAIN_MEMORY,) * (count - layers) + (0,) * layers + (MAIN_MEMORY,)
    return Placement(gpus=gpus, moved=((),) * (count + 1), moved_to=(MAIN_MEMORY,) * (count + 1))
