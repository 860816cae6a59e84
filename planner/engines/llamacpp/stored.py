"""A GGUF file as its own header describes it."""

from __future__ import annotations

from collections import Counter

from planner.engines.llamacpp.header import Header
from planner.engines.llamacpp.layers import Layer, Part, part_of
from planner.engines.llamacpp.model import GgufModel
from planner.errors import PlannerError
from planner.facts.attention import Attention, FullAttention, LatentAttention, SlidingWindow


def from_header(header: Header, name: str, mmproj: Header | None = None) -> GgufModel:
    """A GGUF file as its own header describes it. Raises PlannerError where that does not tell the shape."""
    layers = header.integer("block_count")
    hidden, heads = header.integer("embedding_length"), header.integer("attention.head_count")
    if not (layers and hidden and heads and layers <= len(header.tensors)):
        raise PlannerError(f"{name}: the header does not tell layers, width and heads", "is it a whole model, not a part or a vision projector?")
    parts: tuple[Counter[Part], ...] = tuple(Counter() for _ in range(layers))
    ends = {"input": 0, "output": 0}
    for tensor in header.tensors:
        first, _, rest = tensor.name.partition(".")
        if first == "blk" and (number := rest.partition(".")[0]).isdigit() and int(number) < layers:
            parts[int(number)][part_of(tensor.name)] += tensor.bytes
        else:
            ends["input" if first.endswith("token_embd") else "output"] += tensor.bytes
    table = next((tensor for tensor in header.tensors if tensor.name == "token_embd.weight"), None)
    tied = 0 if table is None or any(tensor.name == "output.weight" for tensor in header.tensors) else table.bytes
    head_dim = header.integer("attention.key_length") or hidden // heads
    kv_heads = header.integer("attention.head_count_kv") or heads
    experts = header.integer("expert_used_count") * header.integer("expert_feed_forward_length")
    caches = _header_caches(header, layers, kv_heads, head_dim)
    return GgufModel(
        name=name,
        mix="file",
        layers=tuple(Layer(tuple(held.items()), kept) for held, kept in zip(parts, caches, strict=True)),
        input_bytes=ends["input"],
        output_bytes=ends["output"] + tied,
        file_bytes=sum(held.total() for held in parts) + sum(ends.values()),
        hidden=hidden,
        vocab=table.shape[0] if table else 0,
        heads=heads,
        query_width=heads * head_dim,
        kv_width=kv_heads * head_dim,
        ffn_width=experts or header.integer("feed_forward_length"),
        max_context=header.integer("context_length", 4096) or 4096,
        mmproj_bytes=sum(tensor.bytes for tensor in mmproj.tensors) if mmproj else 0,
        architecture=header.architecture,
        fused_qkv=any("attn_qkv" in tensor.name for tensor in header.tensors),
    )


def _header_caches(header: Header, layers: int, kv_heads: int, head_dim: int) -> tuple[tuple[Attention, ...], ...]:
    """The cache of each layer: of those with key-value heads, some with a window where the file says which."""
    latent = header.integer("attention.kv_lora_rank")
    if latent:
        return ((LatentAttention(latent_dim=latent, rope_dim=header.integer("rope.dimension_count")),),) * layers
    value_dim = header.integer("attention.value_length") or head_dim
    window, pattern = header.integer("attention.sliding_window"), header.metadata.get(f"{header.architecture}.attention.sliding_window_pattern")
    windowed = _windowed(header.architecture, pattern, layers) if window else [False] * layers
    held = header.by_layer("attention.head_count_kv", layers)
    kept: list[tuple[Attention, ...]] = []
    for layer in range(layers):
        heads = (held[layer] or (0 if any(held) else kv_heads)) if len(held) == layers else kv_heads
        if not heads:
            kept.append(())
        elif windowed[layer]:
            kept.append((SlidingWindow(kv_heads=heads, head_dim=head_dim, head_dim_v=value_dim, window=window),))
        else:
            kept.append((FullAttention(kv_heads=heads, head_dim=head_dim, head_dim_v=value_dim),))
    return tuple(kept)


_EVERY = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "cohere2": 4, "gpt-oss": 2, "exaone4": 4}  # n-th layer is full (src/models/*.cpp set_swa_pattern)


def _windowed(architecture: str, pattern: object, layers: int) -> list[bool]:
    """Which layers have a window: by the file's own list or number, else by the architecture's rule, else all."""
    if isinstance(pattern, list) and len(pattern) >= layers:
        return [bool(value) for value in pattern[:layers]]
    every = pattern if isinstance(pattern, int) and pattern > 0 else _EVERY.get(architecture, 0)
    return [not every or (layer + 1) % every != 0 for layer in range(layers)]
