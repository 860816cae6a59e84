"""Gemma 4: full attention layers with their own heads and width, keys reused as values, dense and expert MLPs side by side."""

from __future__ import annotations

from planner.architecture.blocks import Scope, gate, norm
from planner.architecture.config import Config
from planner.architecture.text import Dims, Layer, LayerBuilder, layer_types, two_norms
from planner.errors import UnsupportedModelError
from planner.model import Attention, Axis, FullAttention, Module, SlidingWindow, Tensor


def gemma4(config: Config, dims: Dims) -> LayerBuilder:
    """Gemma 4 with 26B (experts), 31B: not the small ones with per-layer embeddings and shared caches."""
    if config.optional("num_kv_shared_layers") or config.optional("hidden_size_per_layer_input"):
        raise UnsupportedModelError("Gemma 4 with per-layer embeddings (E2B, E4B) is not supported yet")
    types = layer_types(config, dims)
    experts = config.integer("num_experts", default=0, low=0) if config.flag("enable_moe_block", default=False) else 0
    window = config.integer("sliding_window", default=1024)

    def attention_of(index: int) -> tuple[int, int, bool]:
        if types[index] == "sliding_attention":
            return dims.kv_heads, dims.head_dim, True
        kv_heads = config.integer("num_global_key_value_heads", default=dims.kv_heads)
        return kv_heads, config.integer("global_head_dim", default=dims.head_dim), False

    def build(scope: Scope, index: int) -> Layer:
        kv_heads, head_dim, windowed = attention_of(index)
        modules: list[Module] = [
            scope.qkv("self_attn.qkv_proj", dims.hidden, dims.heads, kv_heads, head_dim),
            scope.row("self_attn.o_proj", dims.heads * head_dim, dims.hidden),
            *norm("self_attn.q_norm", head_dim),
            *norm("self_attn.k_norm", head_dim),
            *scope.attention_scales(),
            *scope.gated_mlp("mlp", dims.hidden, dims.intermediate),
            *two_norms(dims),
            *norm("pre_feedforward_layernorm", dims.hidden),
            *norm("post_feedforward_layernorm", dims.hidden),
        ]
        if experts:
            modules += [
                Tensor(name="router.scale", axes=(Axis(dims.hidden),)),
                Tensor(name="router.per_expert_scale", axes=(Axis(experts),)),
                gate("router.proj", experts, dims.hidden),
                scope.experts("experts", experts, dims.hidden, config.integer("moe_intermediate_size")),
                *norm("post_feedforward_layernorm_1", dims.hidden),
                *norm("post_feedforward_layernorm_2", dims.hidden),
                *norm("pre_feedforward_layernorm_2", dims.hidden),
            ]
        attention: Attention = (
            SlidingWindow(kv_heads=kv_heads, head_dim=head_dim, head_dim_v=head_dim, window=window)
            if windowed
            else FullAttention(kv_heads=kv_heads, head_dim=head_dim, head_dim_v=head_dim)
        )
        return Layer(tuple(modules), (attention,))

    return build
