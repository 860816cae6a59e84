"""How many layers Ollama before 0.30 gave a GPU where llama.cpp ran a model: by its own estimate, which is no size of anything.

Sources: ollama llm/memory.go estimateGPULayers, llm/server.go llamaServer.Load (since 0.12.11), fs/ggml/ggml.go GraphSize, as of 0.12.3 and 0.20.0: their
formulas are the same.
"""

from __future__ import annotations

from typing import assert_never

from planner.engines.llamacpp.memory import LlamaCppConfig, cache_bytes, kv_bits
from planner.engines.llamacpp.model import GgufModel
from planner.facts.attention import (
    Attention,
    ChunkedLocal,
    CompressedCache,
    CrossAttention,
    FullAttention,
    LatentAttention,
    RecurrentState,
    SlidingWindow,
)
from planner.facts.record import dataclass
from planner.units import MIB

LEFT_FREE = 457 * MIB  # of a GPU of NVIDIA's or AMD's (ml/device.go MinimumMemory)
_ROUNDED = {"q8_0": 1.0, "q4_0": 0.5, "f32": 4.0}  # bytes of a value as it counts them


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    batch: int
    context: int
    hidden: int
    heads: int
    head: int
    kv_heads: int
    vocab: int

    @property
    def logits(self) -> int:
        """A batch's, with its hidden states."""
        return 4 * self.batch * (self.hidden + self.vocab)

    @property
    def scores(self) -> int:
        """Values of a token against the context, in all heads and once more."""
        return self.context * (1 + self.heads)

    @property
    def head_copy(self) -> int:
        """The output matrix, as it comes to the GPU for a batch."""
        return self.hidden * self.vocab * 105 // 128


def layers_estimated(model: GgufModel, config: LlamaCppConfig, free_bytes: int) -> int:
    """Layers on one GPU with so much free, from the last one; the output, which comes last of all, counts as one."""
    caches = [sum(_cache_bytes(cache, config) for cache in layer.caches) for layer in model.layers]
    sizes = [layer.bytes + kept for layer, kept in zip(model.layers, caches, strict=True)]
    projector = model.mmproj_bytes if config.vision else 0
    left = free_bytes - LEFT_FREE - sizes[0] - projector - max(_graph_bytes(model, config, sum(caches)))
    count = 0
    for size in (*reversed(sizes), model.output_bytes):
        if left <= size:
            break
        left, count = left - size, count + 1
    return count


def _cache_bytes(cache: Attention, config: LlamaCppConfig) -> int:
    tokens = config.context * config.parallel
    elements, size = kv_bits(config.kv_type)
    width = _ROUNDED.get(config.kv_type, size / elements)
    match cache:
        case FullAttention() | SlidingWindow() | ChunkedLocal() | CrossAttention():
            return int(tokens * cache.kv_heads * (cache.head_dim + cache.head_dim_v) * width)
        case LatentAttention():  # one head whose key is the latent with its rotary part, and whose value is the latent once more
            return int(tokens * (2 * cache.latent_dim + cache.rope_dim) * width)
        case RecurrentState() | CompressedCache():
            return cache_bytes(cache, config)
        case _:
            assert_never(cache)


def _graph_bytes(model: GgufModel, config: LlamaCppConfig, kv_bytes: int) -> tuple[int, int]:
    """What it takes a graph for, with a part of the layers on the GPU and with all of them."""
    heads = [cache for cache, _ in model.caches if isinstance(cache, FullAttention | SlidingWindow)]
    latents = [cache for cache, _ in model.caches if isinstance(cache, LatentAttention)]
    own = _Shape(
        batch=min(config.ubatch, config.context),
        context=config.context * config.parallel,
        hidden=model.hidden,
        heads=model.heads,
        head=max([*(cache.head_dim for cache in heads), *(cache.latent_dim + cache.rope_dim for cache in latents)], default=0),
        kv_heads=max([*(cache.kv_heads for cache in heads), *(1 for _ in latents)], default=0),
        vocab=model.vocab,
    )
    plain = model.architecture.lower().replace("_", "")
    if plain.startswith(("llama", "mistral")) and not model.has_experts:
        return _llama(own)
    if plain.startswith("gemma"):
        return _gemma(own)
    if plain.startswith("qwen2for") or plain == "qwen2":
        return _qwen2(own)
    if plain.startswith(("cohere", "command")) and not plain.startswith("cohere2"):
        return _command_r(own)
    if plain.startswith(("deepseekv2", "deepseekv3")):
        return _deepseek2(own)
    if plain.startswith("phifor"):
        return _phi2(own)
    if plain.startswith("stablelm"):
        whole = 4 * own.batch * (own.scores + 3 * own.hidden + 2)
        return max(own.logits + 4 * own.batch * own.hidden, whole), whole
    if plain.startswith(("chatglm", "glmfor")):
        return _chatglm(own)
    part = own.heads // max(1, own.kv_heads) * kv_bytes // 6
    return part, part


def _llama(own: _Shape) -> tuple[int, int]:
    whole = max(4 * own.batch * (1 + 4 * own.hidden + own.scores), own.logits)
    wide = 4 * own.batch * (1 + own.hidden + max(own.context, own.hidden)) + own.hidden**2 * 9 // 16
    wide += 4 * own.context * (own.batch * own.heads + own.head * own.kv_heads)
    return 4 * own.batch * own.hidden + max(wide, own.logits + own.head_copy), whole


def _qwen2(own: _Shape) -> tuple[int, int]:
    mixed = 4 * own.batch * (1 + 2 * own.hidden + own.scores)
    return max(own.logits + own.head_copy, mixed + 4 * own.hidden * (1 + own.context)), max(own.logits, mixed)


def _gemma(own: _Shape) -> tuple[int, int]:
    mixed = 4 * own.batch * (2 * own.hidden + 2 * own.head * own.heads + own.scores)
    part = mixed + 4 * own.batch + 32 * own.head * own.context + own.hidden * own.head * own.heads * 9 // 16
    return max(own.logits + own.head_copy, part), max(own.logits, mixed + 8 * own.batch)


def _command_r(own: _Shape) -> tuple[int, int]:
    part = 4 * own.batch * (1 + 2 * own.hidden + own.scores) + 4 * own.hidden * own.context + own.hidden**2 * 9 // 16
    return max(own.logits + own.head_copy, part), max(own.logits, 4 * own.batch * (2 + 4 * own.hidden + own.scores))


def _deepseek2(own: _Shape) -> tuple[int, int]:
    logits, keys = own.logits + 8 * own.batch * own.hidden, 2 * own.head * own.kv_heads
    scores = own.context * (1 + own.kv_heads)
    part = 4 * own.batch * (2 * own.hidden + 1 + keys + scores) + 2 * keys * own.context + own.hidden * own.head * own.kv_heads * 9 // 16
    return max(logits + own.head_copy, part), max(logits, 4 * own.batch * (3 * own.hidden + 2 + keys + scores))


def _phi2(own: _Shape) -> tuple[int, int]:
    part = max(own.logits + 4 * own.batch * own.hidden + own.head_copy, 4 * own.batch * (2 + 3 * own.hidden + own.scores))
    return part, max(own.logits, 4 * own.batch * (1 + 4 * own.hidden + own.scores))


def _chatglm(own: _Shape) -> tuple[int, int]:
    qkv, mixed = own.head * (own.heads + 2 * own.kv_heads), 2 * own.hidden + own.scores + own.head * own.heads
    part = 4 * own.batch * (1 + mixed) + 8 * own.head * own.context + 4 * qkv
    return max(own.logits + own.head_copy, part), max(own.logits, 4 * own.batch * (2 + mixed + qkv))
