"""A GGUF file as its own header describes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from planner.engines.llamacpp.header import Header
from planner.engines.llamacpp.layers import Layer, Part, part_of
from planner.engines.llamacpp.model import GgufModel
from planner.engines.llamacpp.stored_flows import stored_flows
from planner.errors import PlannerError
from planner.facts.attention import Attention, FullAttention, LatentAttention, RecurrentState, SlidingWindow
from planner.facts.modules import Axis, Tensor


def from_header(header: Header, name: str, mmproj: Header | None = None) -> GgufModel:
    """A GGUF file as its own header describes it. Raises PlannerError where that does not tell the shape.

    Layers that predict further tokens (`nextn_predict_layers`) lie behind the others; they are loaded only where a command asks for them.
    """
    predicting = header.integer("nextn_predict_layers")
    layers = header.integer("block_count") - predicting
    hidden, heads = header.integer("embedding_length"), header.integer("attention.head_count")
    if not (layers > 0 and hidden and heads and layers <= len(header.tensors)):
        raise PlannerError(f"{name}: the header does not tell layers, width and heads", "is it a whole model, not a part or a vision projector?")
    parts: tuple[Counter[Part], ...] = tuple(Counter() for _ in range(layers + predicting))
    ends = {"input": 0, "output": 0}
    for tensor in header.tensors:
        first, _, rest = tensor.name.partition(".")
        if first == "blk" and (number := rest.partition(".")[0]).isdigit() and int(number) < len(parts):
            parts[int(number)][part_of(tensor.name)] += tensor.bytes
        else:
            ends["input" if first.endswith("token_embd") else "output"] += tensor.bytes
    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    table = next((tensor for tensor in header.tensors if tensor.name == "token_embd.weight"), None)
    has_none = "output.weight" in shapes or "bert" in header.architecture  # of BERT's kin no head is loaded
    tied = 0 if table is None or has_none else table.bytes
    caches = _header_caches(header, shapes, layers)
    borrowed = tuple(_borrowed(header, caches, layers))
    queries = _query_width(header, hidden)
    return GgufModel(
        name=name,
        mix="file",
        layers=tuple(Layer(tuple(held.items()), kept) for held, kept in zip(parts[:layers], caches, strict=True)),
        input_bytes=ends["input"],
        output_bytes=ends["output"] + tied,
        tied_bytes=tied,
        file_bytes=sum(held.total() for held in parts) + sum(ends.values()),
        hidden=hidden,
        vocab=table.shape[0] if table else 0,
        heads=heads,
        query_width=queries,
        gated_query=any(name.endswith("attn_q.weight") and shape[0] == 2 * queries for name, shape in shapes.items()),
        borrowed=borrowed,
        layer_inputs=header.integer("embedding_length_per_layer_input") * layers,
        predicting_bytes=sum(held.total() for held in parts[layers:]),
        max_context=header.integer("context_length", 4096) or 4096,
        mmproj_bytes=sum(tensor.bytes for tensor in mmproj.tensors) if mmproj else 0,
        architecture=header.architecture,
        flows=stored_flows(header, shapes, caches, borrowed),
        positions=4 if header.integer("rope.dimension_sections") else 1,
        deep=header.integer("n_deepstack_layers") * hidden,
    )


def _key_length(header: Header, hidden: int) -> int:
    return header.integer("attention.key_length") or hidden // (header.integer("attention.head_count") or 1)


def _query_width(header: Header, hidden: int) -> int:
    """Queries of a token; with MLA what attention puts out."""
    return header.integer("attention.head_count") * (header.integer("attention.value_length_mla") or _key_length(header, hidden))


def _header_caches(header: Header, shapes: Mapping[str, tuple[int, ...]], layers: int) -> tuple[tuple[Attention, ...], ...]:
    """The cache of each layer: of those with key-value heads, some with a window where the file says which; a state where it mixes by one."""
    latent = header.integer("attention.kv_lora_rank")
    if latent and header.integer("attention.key_length_mla"):  # a file before #12801 (15 April 2025) has keys and values of every head
        return ((LatentAttention(latent_dim=latent, rope_dim=header.integer("rope.dimension_count")),),) * layers
    key_dim = _key_length(header, header.integer("embedding_length"))
    value_dim = header.integer("attention.value_length") or key_dim
    window, pattern = header.integer("attention.sliding_window"), header.metadata.get(f"{header.architecture}.attention.sliding_window_pattern")
    windowed = _windowed(header.architecture, pattern, layers) if window and header.architecture != "phi3" else [False] * layers  # see model.py
    held = header.by_layer("attention.head_count_kv", layers)
    shared, state = header.integer("attention.shared_kv_layers"), _state(header)
    kept: list[tuple[Attention, ...]] = []
    for layer in range(layers):
        heads = (held[layer] or (0 if any(held) else header.integer("attention.head_count"))) if len(held) == layers else 0
        if state and any(f"blk.{layer}.ssm_{name}" in shapes for name in ("conv1d.weight", "a", "out.weight")):
            kept.append((state,))
        elif not heads or layer >= layers - shared:
            kept.append(())
        elif windowed[layer]:
            key, value = header.integer("attention.key_length_swa") or key_dim, header.integer("attention.value_length_swa") or value_dim
            kept.append((SlidingWindow(kv_heads=heads, head_dim=key, head_dim_v=value, window=window),))
        else:
            kept.append((FullAttention(kv_heads=heads, head_dim=key_dim, head_dim_v=value_dim),))
    return tuple(kept)


def _borrowed(header: Header, caches: tuple[tuple[Attention, ...], ...], layers: int) -> Iterator[tuple[int, Attention]]:
    """The last layers, where they read the caches of earlier ones."""
    shared, pattern = header.integer("attention.shared_kv_layers"), header.metadata.get(f"{header.architecture}.attention.sliding_window_pattern")
    kept = {isinstance(cache, SlidingWindow): cache for own in caches for cache in own}
    windowed = _windowed(header.architecture, pattern, layers)
    yield from ((layer, kept[windowed[layer]]) for layer in range(max(0, layers - shared), layers) if windowed[layer] in kept)


def _state(header: Header) -> RecurrentState | None:
    """The state of a sequence in a layer that mixes by one (src/llama-hparams.cpp n_embd_r, n_embd_s); None where the file has none."""
    inner, state = header.integer("ssm.inner_size"), header.integer("ssm.state_size")
    if not inner or not state:
        return None
    row = (Axis(max(0, header.integer("ssm.conv_kernel") - 1)), Axis(inner + 2 * header.integer("ssm.group_count") * state))
    return RecurrentState(tensors=tuple(Tensor(name=name, axes=axes, bits=32) for name, axes in (("convolution", row), ("state", (Axis(inner * state),)))))


_EVERY = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "cohere2": 4, "gpt-oss": 2, "exaone4": 4}  # n-th layer is full (src/models/*.cpp set_swa_pattern)


def _windowed(architecture: str, pattern: object, layers: int) -> list[bool]:
    """Which layers have a window: by the file's own list or number, else by the architecture's rule, else all."""
    if isinstance(pattern, list) and len(pattern) >= layers:
        return [bool(value) for value in pattern[:layers]]
    every = pattern if isinstance(pattern, int) and pattern > 0 else _EVERY.get(architecture, 0)
    return [not every or (layer + 1) % every != 0 for layer in range(layers)]
