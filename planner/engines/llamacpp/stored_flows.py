"""What the layers of a GGUF file compute, from the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from planner.engines.llamacpp.flow import Flow, Mixer
from planner.engines.llamacpp.header import Header
from planner.facts.attention import Attention, LatentAttention, RecurrentState, SlidingWindow

_Shapes = Mapping[str, tuple[int, ...]]
_ENDS = ("post_ffw_norm", "ffn_down.bias", "ffn_down_exps.bias", "ffn_gate_inp_shexp")
_KEYS_FIRST = ("gemma", "gpt-oss", "cohere")


def stored_flows(header: Header, shapes: _Shapes, caches: Sequence[Sequence[Attention]], borrowed: Sequence[tuple[int, Attention]]) -> tuple[Flow, ...]:
    """Of each layer what it computes; `borrowed`: the caches of others that layers read."""
    by_layer: list[dict[str, tuple[int, ...]]] = [{} for _ in caches]
    for name, shape in shapes.items():
        first, _, rest = name.partition(".")
        number, _, own = rest.partition(".")
        if first == "blk" and number.isdigit() and int(number) < len(by_layer):
            by_layer[int(number)][own.removesuffix(".weight")] = shape
    read = dict(borrowed)
    made: dict[tuple[object, ...], Flow] = {}
    has_windows = any(isinstance(own, SlidingWindow) for kept in caches for own in kept)
    keys_first = has_windows or header.architecture.startswith(_KEYS_FIRST)
    flows = []
    for layer, own_shapes in enumerate(by_layer):
        cache = next(iter(caches[layer]), read.get(layer))
        turns = _turns(header.architecture, layer, cache, has_windows=has_windows)
        key = tuple(sorted(own_shapes.items())), cache, turns
        if key not in made:
            made[key] = replace(_fed(header, own_shapes, _mixer(header, own_shapes, cache)), is_turned=turns, keys_first=keys_first)
        flows.append(made[key])
    return tuple(flows)


def _turns(architecture: str, layer: int, cache: Attention | None, *, has_windows: bool) -> bool:
    if architecture in ("cohere2", "llama4", "exaone4", "afmoe") and has_windows:
        return isinstance(cache, SlidingWindow)
    return architecture not in ("granitehybrid", "nemotron_h", "nemotron_h_moe") and not (architecture == "smollm3" and layer % 4 == 3)


def _rows(shapes: _Shapes, name: str) -> int:
    shape = shapes.get(name, ())
    return shape[0] if len(shape) > 1 else 0


def _mixer(header: Header, shapes: _Shapes, cache: Attention | None) -> Flow:
    if isinstance(cache, RecurrentState):
        return _state(shapes, cache)
    out = shapes.get("attn_output", (0, 0))[-1]
    if isinstance(cache, LatentAttention):
        made = _rows(shapes, "attn_q_b") or _rows(shapes, "attn_q")
        heads = header.integer("attention.head_count")
        keys = cache.latent_dim + cache.rope_dim
        return Flow(mixer=Mixer.LATENT, cache=cache, queries=made, low=_rows(shapes, "attn_q_a"), keys=keys, rope=cache.rope_dim, heads=heads, out=out)
    if cache is None or not out:
        return Flow()
    keys, values = (_width(cache, name) for name in ("head_dim", "head_dim_v"))
    queries = _rows(shapes, "attn_q") or _rows(shapes, "attn_q_b") or out
    latent = shapes.get("attn_kv_b", (0, 0))[-1]
    heads = out // max(1, getattr(cache, "head_dim_v", 0)) or header.integer("attention.head_count")
    has_keys = any(name in shapes for name in ("attn_k", "attn_qkv")) or latent > 0
    return Flow(
        mixer=Mixer.ATTENTION,
        cache=cache,
        queries=out if queries == 2 * out else queries,
        keys=keys if has_keys else 0,
        values=values if has_keys else 0,
        out=out,
        heads=heads,
        gated_query=queries == 2 * out,
        gate=_rows(shapes, "attn_gate"),
        joined="attn_qkv" in shapes,
        norms_values=header.architecture.startswith(("gemma3n", "gemma4")),
        norms_heads="attn_q_norm" in shapes,
        adds_to_heads="attn_q.bias" in shapes or "attn_qkv.bias" in shapes,
        has_streams=header.architecture == "gemma3n",
        scales_queries=header.architecture == "llama4" and not isinstance(cache, SlidingWindow),
        has_factors=header.architecture.startswith("gemma4") and not isinstance(cache, SlidingWindow),
        low=_rows(shapes, "attn_q_a") or _rows(shapes, "laurel_l"),
        spread=latent,
        rope=_rows(shapes, "attn_kv_a_mqa") - latent if latent else 0,
        keys_are_values=header.architecture.startswith("gemma4") and has_keys and "attn_v" not in shapes and "attn_qkv" not in shapes,
    )


def _width(cache: Attention, name: str) -> int:
    return int(getattr(cache, "kv_heads", 0) * getattr(cache, name, 0))


def _state(shapes: _Shapes, cache: RecurrentState) -> Flow:
    sizes = [(len(tensor.axes) == 2, 4 * prod(axis.size for axis in tensor.axes)) for tensor in cache.tensors]
    kept, state = (sum(size for is_row, size in sizes if is_row is wanted) for wanted in (True, False))
    flow = Flow(kept_bytes=kept, state_bytes=state)
    if "ssm_conv1d_q" in shapes:
        side = _rows(shapes, "attn_q")
        return replace(flow, mixer=Mixer.KDA, convolved=3 * side, inner=shapes.get("attn_output", (0, side))[-1], low=_rows(shapes, "ssm_f_a"))
    if gate := _rows(shapes, "attn_gate"):
        return replace(flow, mixer=Mixer.DELTA, convolved=_rows(shapes, "attn_qkv"), inner=gate)
    if projected := _rows(shapes, "shortconv.in_proj"):
        return replace(flow, mixer=Mixer.SHORT_CONVOLUTION, projected=projected, inner=projected // 3)
    inner = shapes.get("ssm_out", (0, 0))[-1]
    return replace(flow, mixer=Mixer.MAMBA2, projected=_rows(shapes, "ssm_in"), convolved=_rows(shapes, "ssm_conv1d"), inner=inner)


def _fed(header: Header, shapes: _Shapes, flow: Flow) -> Flow:
    fused = _rows(shapes, "ffn_up") == 2 * shapes.get("ffn_down", (0, 0))[-1] > 0 and "ffn_gate" not in shapes
    shared = "" if _rows(shapes, "ffn_up") else "_shexp"
    dense = _rows(shapes, f"ffn_up{shared}") // (2 if fused else 1)
    flow = replace(flow, dense=dense, is_gated=fused or f"ffn_gate{shared}" in shapes, dense_fused=fused)
    flow = replace(flow, ends_small=any(name in shapes for name in _ENDS))
    flow = replace(
        flow,
        beside=header.architecture.startswith(("cohere", "command-r")),
        keeps_residual=header.architecture.startswith("lfm2"),
        keeps_behind=header.architecture == "phi3",
    )
    if not (bank := shapes.get("ffn_down_exps")):
        return flow
    used = header.integer("expert_used_count")
    return replace(
        flow,
        experts=bank[0],
        wide=used * bank[-1],
        experts_out=used * bank[1],
        experts_gated="ffn_gate_exps" in shapes or "ffn_gate_up_exps" in shapes,
        experts_fused="ffn_gate_up_exps" in shapes,
        has_bias="exp_probs_b.bias" in shapes,
        gates_shared="ffn_gate_inp_shexp" in shapes,
        weighed_before=header.architecture == "llama4",
        experts_biased="ffn_down_exps.bias" in shapes,
    )
