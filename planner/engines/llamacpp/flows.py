"""What the layers of a model compute, from its modules: as llama.cpp's converter names and llama.cpp's graphs join them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import assert_never

from planner.engines.llamacpp.flow import Flow, Mixer
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
from planner.facts.model import LayerGroup, ModelSpec
from planner.facts.modules import Experts, Linear, Role

FUSED_QKV = ("Phi3", "Phi4", "Phi2", "GPTNeoX", "Falcon", "ChatGLM", "NomicBert", "ModernBert", "StarCoder", "GPT2", "Bloom", "BailingMoe")
FUSED_UP = ("Phi3", "Phi4", "ChatGLM", "Glm4ForCausalLM", "GlmForCausalLM")
_NORMS_BEHIND = ("post_feedforward_layernorm", "post_mlp_layernorm", "post_feedforward_norm", "post_mlp_norm")
_Rows = Mapping[Role, Sequence[Linear]]


def flows_of(model: ModelSpec, caches: Mapping[int, Sequence[Attention]]) -> tuple[Flow, ...]:
    """Of each layer what it computes. `caches`: what each keeps or, where it keeps nothing of its own, reads."""
    by_layer = {index: group for group in model.layers for index in group.indices}
    made: dict[tuple[int, Attention | None, bool], Flow] = {}
    flows = []
    for layer in range(model.layer_count):
        group, cache = by_layer[layer], next(iter(caches.get(layer, ())), None)
        turns = _turns(model, layer, cache)
        key = id(group), cache, turns
        if key not in made:
            made[key] = replace(_flow(model, group, cache), is_turned=turns)
        flows.append(made[key])
    return tuple(flows)


def _has_windows(model: ModelSpec) -> bool:
    return any(isinstance(own, SlidingWindow | ChunkedLocal) for own in model.caches)


def _turns(model: ModelSpec, layer: int, cache: Attention | None) -> bool:
    """Whether queries and keys are turned by their position: some layers of some models have none."""
    if model.architecture.startswith(_TURNED_IN_WINDOWS) and _has_windows(model):
        return isinstance(cache, SlidingWindow)
    if model.has_state and model.architecture.startswith(("GraniteMoeHybrid", "NemotronH")):
        return False
    return not model.architecture.startswith("SmolLM3") or layer % 4 != 3


def _flow(model: ModelSpec, group: LayerGroup, cache: Attention | None) -> Flow:
    rows: dict[Role, list[Linear]] = {}
    for module in group.modules:
        if isinstance(module, Linear):
            rows.setdefault(module.role, []).append(module)
    flow = _mixer(model, rows, cache)
    for module in group.modules:
        if isinstance(module, Experts):
            flow = replace(
                flow,
                experts=module.experts,
                wide=model.experts_per_token * module.intermediate,
                experts_out=model.experts_per_token * model.hidden_size,
                experts_gated=module.shards == 2,
                experts_fused=model.architecture.startswith("Gemma4"),
                has_bias=any("correction_bias" in other.name or "expert_bias" in other.name for other in group.modules),
                gates_shared=any(router.outputs[0].size == 1 for router in rows.get(Role.ROUTER, ())),
                weighed_before=model.architecture.startswith("Llama4"),
                experts_biased=module.bias,
            )
    if dense := rows.get(Role.GATE_UP):
        flow = replace(flow, dense=dense[0].outputs[0].size, dense_fused=model.architecture.startswith(FUSED_UP))
    elif dense := rows.get(Role.UP):
        flow = replace(flow, dense=dense[0].outputs[0].size, is_gated=Role.GATE in rows)
    flow = replace(flow, ends_small=_ends_small(group, rows) or flow.gates_shared)
    flow = replace(flow, adds_to_heads=any(row.bias for role in (Role.QKV, Role.QUERY) for row in rows.get(role, ())))
    flow = replace(flow, norms_heads=flow.mixer is Mixer.ATTENTION and any(module.name.endswith(".q_norm") for module in group.modules))
    return replace(
        flow,
        keeps_residual=model.architecture.startswith("Lfm2"),
        keeps_behind=model.architecture.startswith("Phi3"),
        beside=model.architecture.startswith("Cohere"),
    )


def _ends_small(group: LayerGroup, rows: _Rows) -> bool:
    """Whether a layer's feed-forward block ends with a norm of its own or a bias."""
    norms = any(module.name.endswith(_NORMS_BEHIND) for module in group.modules)
    return norms or any(row.bias for row in rows.get(Role.DOWN, ())) or any(module.bias for module in group.modules if isinstance(module, Experts))


def _mixer(model: ModelSpec, rows: _Rows, cache: Attention | None) -> Flow:
    out = next((row.inputs.size for row in rows.get(Role.ATTENTION_OUTPUT, ())), 0)
    match cache:
        case RecurrentState():
            return _state(rows, cache, out)
        case LatentAttention():
            return _latent(model, rows, cache, out)
        case FullAttention() | SlidingWindow() | ChunkedLocal() | CrossAttention() | CompressedCache():
            return _attention(model, rows, cache, out) if out else Flow()
        case None:
            return Flow()
        case _:
            assert_never(cache)


def _state(rows: _Rows, cache: RecurrentState, out: int) -> Flow:
    sizes = [(len(tensor.axes) == 2, 4 * prod(axis.size for axis in tensor.axes)) for tensor in cache.tensors]
    kept, state = (sum(size for is_row, size in sizes if is_row is wanted) for wanted in (True, False))
    flow = Flow(kept_bytes=kept, state_bytes=state)
    if delta := rows.get(Role.DELTA):  # Qwen3-Next has them in one, with values as wide as queries and keys together
        made = [axis.size for axis in delta[0].outputs]
        gate = made[3] if len(made) > 1 else made[0] // 3
        return replace(flow, mixer=Mixer.DELTA, convolved=sum(made) - gate, inner=gate)
    made = [axis.size for row in rows.get(Role.MIXER, ())[:1] for axis in row.outputs]
    if out:
        return replace(flow, mixer=Mixer.KDA, convolved=sum(made[:3]), inner=out, low=made[3] if len(made) > 3 else 0)
    if len(made) == 3:
        return replace(flow, mixer=Mixer.SHORT_CONVOLUTION, projected=sum(made), inner=made[0])
    return replace(flow, mixer=Mixer.MAMBA2, projected=sum(made), convolved=sum(made[1:4]), inner=made[0]) if made else flow


def _latent(model: ModelSpec, rows: _Rows, cache: LatentAttention, out: int) -> Flow:
    into = rows.get(Role.LATENT, ())
    direct = rows.get(Role.QUERY)
    made = direct or into[1:2]
    return Flow(
        mixer=Mixer.LATENT,
        cache=cache,
        queries=made[0].outputs[0].size if made else out,
        low=0 if direct or not into else into[0].outputs[0].size,
        keys=cache.latent_dim + cache.rope_dim,
        rope=cache.rope_dim,
        heads=model.attention_heads,
        out=out,
    )


def _spread(model: ModelSpec, rows: _Rows, cache: FullAttention, out: int) -> Flow:
    """MLA with keys and values of every head in the cache."""
    into, direct = rows[Role.LATENT], rows.get(Role.QUERY)
    made = direct or into[1:2]
    return Flow(
        mixer=Mixer.ATTENTION,
        cache=cache,
        queries=made[0].outputs[0].size if made else out,
        keys=cache.kv_heads * cache.head_dim,
        values=cache.kv_heads * cache.head_dim_v,
        out=out,
        heads=model.attention_heads,
        low=0 if direct else into[0].outputs[0].size,
        rope=cache.head_dim - cache.head_dim_v,
        spread=into[-1].inputs.size,
    )


def _attention(model: ModelSpec, rows: _Rows, cache: Attention, out: int) -> Flow:
    if Role.LATENT in rows and isinstance(cache, FullAttention):
        return _spread(model, rows, cache, out)
    has_layer_inputs = any(row.outputs[0].size < model.hidden_size // 4 for row in rows.get(Role.PROJECTION, ()))
    together = rows.get(Role.QKV)
    sizes = [axis.size for axis in together[0].outputs] if together else [rows[role][0].outputs[0].size if role in rows else 0 for role in _APART]
    if len(sizes) < 3:
        sizes = [out, *(2 * [(sum(sizes) - out) // 2])]
    queries, keys, values = sizes[:3]
    width = cache.head_dim_v if isinstance(cache, FullAttention | SlidingWindow) else 0
    gates = [row.outputs[0].size for row in rows.get(Role.PROJECTION, ())]
    heads = out // width if width else model.attention_heads
    low = next((row.outputs[0].size for row in rows.get(Role.PROJECTION, ()) if "laurel" in row.name), 0)
    return Flow(
        mixer=Mixer.ATTENTION,
        cache=cache,
        queries=out if queries == 2 * out else queries,
        keys=keys,
        values=values,
        out=out,
        heads=heads,
        gated_query=queries == 2 * out,
        gate=next((size for size in gates if size in (out, heads)), 0) if model.architecture.startswith(_GATED) else 0,
        joined=model.architecture.startswith(FUSED_QKV),
        keys_first=model.architecture.startswith(("Gemma", "GptOss", "Cohere"))
        or _has_windows(model),  # caches of two kinds are filled so (build_attn of iswa)
        norms_values=model.architecture.startswith(("Gemma3n", "Gemma4")),
        has_streams=model.architecture.startswith("Gemma3n"),
        scales_queries=model.architecture.startswith("Llama4") and isinstance(cache, FullAttention),
        has_factors=model.architecture.startswith("Gemma4") and isinstance(cache, FullAttention),
        low=low,
        keys_are_values=model.architecture.startswith("Gemma4") and isinstance(cache, FullAttention) and not has_layer_inputs,
    )


_TURNED_IN_WINDOWS = ("Cohere2", "Llama4", "Exaone4", "Afmoe")
_APART = (Role.QUERY, Role.KEY, Role.VALUE)
_GATED = ("Afmoe", "Step3")
