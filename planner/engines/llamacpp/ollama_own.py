"""Ollama before 0.30, which ran models itself: by its own engine, or by a llama.cpp that it placed layers for.

Sources: ollama llm/server.go assignLayers and findBestFit, fs/ggml/ggml.go OllamaEngineRequired, kvcache/recurrent.go (as of 0.20); 0.30.0 of June 2026
replaced all of it by llama-server (ollama#16031).
"""

from __future__ import annotations

import re
from dataclasses import replace

from planner.engines.llamacpp.builds import MASK_IS_HALF
from planner.engines.llamacpp.layers import MAIN_MEMORY, Placement
from planner.engines.llamacpp.ledger import ledger_of
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.model import GgufModel
from planner.units import MIB, largest

FIRST_WITH_LLAMA_SERVER = (0, 30)
FIRST_WITH_FITTED_DRAFTS = (0, 33)
BATCH = 512  # num_batch of those releases, whatever the context (api/types.go DefaultOptions)
SNAPSHOTS = 24  # that its engine keeps of each recurrent state beside the state itself (kvcache/recurrent.go DefaultCheckpointCount)
_LEFT_FREE = 457 * MIB  # of a CUDA GPU (ml/device.go MinimumMemory)
_BUILD = MASK_IS_HALF - 1  # its graphs had masks of 32 bits
# Architectures that its engine had to run; all others ran by llama.cpp.
_OWN = (
    *("bert", "deepseek2", "deepseekv2", "deepseekv3", "deepseekocr", "gemma3", "gemma4", "glm4moelite", "glmocr", "gptoss", "lfm2", "llama4"),
    *("mistral3", "mllama", "nemotronh", "nomicbert", "olmo3", "qwen25vl", "qwen3"),
)
# Where flash attention was on without being asked for (fs/ggml/ggml.go FlashAttention): the others had it on with OLLAMA_FLASH_ATTENTION, and in
# llama.cpp it was off until 0.14 left it to llama.cpp (0.13.5's buffers of phi4, ollama#13552, are those without).
_FLASH = ("bert", "gemma3", "gemma4", "glm4moelite", "glmocr", "gptoss", "lfm2", "mistral3", "nemotronh", "olmo3", "qwen3")
_FLASH_LEFT_TO_LLAMA_CPP = (0, 14)


def is_earlier(version: str | None) -> bool:
    """Whether a release ("0.20.1") is one that placed layers itself; of one that is not said none is."""
    return is_before(version, FIRST_WITH_LLAMA_SERVER)


def is_before(version: str | None, first: tuple[int, int]) -> bool:
    """Whether a release is earlier than another; of one that is not said it is not."""
    match = re.match(r"v?(\d+)\.(\d+)", version or "")
    return match is not None and (int(match[1]), int(match[2])) < first


def runs_itself(architecture: str) -> bool:
    """Whether Ollama's own engine ran an architecture."""
    return _plain(architecture).startswith(_OWN)


def earlier(model: GgufModel, config: LlamaCppConfig, version: str | None, *, asks_for_flash: bool) -> LlamaCppConfig:
    """A configuration as such a release held it: larger masks, of its own engine snapshots of recurrent states, flash attention where it had it."""
    own = runs_itself(model.architecture)
    is_left = not own and not is_before(version, _FLASH_LEFT_TO_LLAMA_CPP)
    flash = config.flash_attention and (asks_for_flash or is_left or _plain(model.architecture).startswith(_FLASH))
    return replace(config, build=_BUILD, flash_attention=flash, snapshots=SNAPSHOTS if model.has_state and own else 0)


def _plain(architecture: str) -> str:
    return re.sub(r"[_-]", "", architecture.lower())


def placed_whole(model: GgufModel, config: LlamaCppConfig, free_bytes: int) -> LlamaCppConfig:
    """Whole layers on one GPU: all, or without the output the last ones that fit."""
    room = free_bytes - _LEFT_FREE
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
