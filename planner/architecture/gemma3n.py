"""Gemma 3n: four parallel streams (AltUp), a low-rank path (LAuReL), an embedding for each layer; the last layers share caches of earlier ones.

Source: vllm/model_executor/models/gemma3n.py, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, embedding, norm, plain
from planner.architecture.config import Config
from planner.architecture.text import Dims, Layer, LayerBuilder, full_attention, layer_types, sliding_window
from planner.facts.modules import Module, Role

_NORMS = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm", "post_per_layer_input_norm")


def sizes(config: Config) -> Config:
    """One width of the MLP, though each layer may say its own: the largest."""
    return Config({**config.data, "intermediate_size": config.largest("intermediate_size", default=16_384)}, config.path)


def _per_layer(config: Config) -> int:
    return config.integer("hidden_size_per_layer_input", default=256)


def _streams(config: Config) -> int:
    return config.integer("altup_num_inputs", default=4, high=1024)


def gemma3n(config: Config, dims: Dims) -> LayerBuilder:
    """A layer; the last `num_kv_shared_layers` have queries only."""
    types, window = layer_types(config, dims, 5), config.integer("sliding_window", default=512)
    bias = config.flag("attention_bias", default=False)
    streams, wide, rank = _streams(config), _per_layer(config), config.integer("laurel_rank", default=64)
    first_shared = dims.layers - config.integer("num_kv_shared_layers", default=15, low=0)

    def attention(scope: Scope, shared: bool) -> list[Module]:
        inner = dims.heads * dims.head_dim
        own = [
            scope.qkv("self_attn.qkv_proj", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim, bias=bias),
            *norm("self_attn.k_norm", dims.head_dim),
        ]
        return [
            *([scope.column("self_attn.q_proj", dims.hidden, (inner,), bias=bias, role=Role.QUERY)] if shared else own),
            *norm("self_attn.q_norm", dims.head_dim),
            scope.row("self_attn.o_proj", inner, dims.hidden, bias=bias, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
        ]

    def build(scope: Scope, index: int) -> Layer:
        shared = index >= first_shared
        modules = [
            *attention(scope, shared),
            *scope.gated_mlp("mlp", dims.hidden, dims.intermediate),
            scope.replicated("altup.correction_coefs", streams, (streams,), role=Role.PROJECTION),
            scope.replicated("altup.prediction_coefs", streams, (streams**2,), role=Role.PROJECTION),
            scope.replicated("altup.modality_router", dims.hidden, (streams,), role=Role.PROJECTION),
            *norm("altup.router_norm", dims.hidden),
            plain("altup.correct_output_scale", dims.hidden, bits=32),
            scope.column("laurel.linear_left", dims.hidden, (rank,), role=Role.PROJECTION),
            scope.row("laurel.linear_right", rank, dims.hidden, role=Role.PROJECTION),
            *norm("laurel.post_laurel_norm", dims.hidden),
            scope.replicated("per_layer_input_gate", dims.hidden, (wide,), role=Role.PROJECTION),
            scope.replicated("per_layer_projection", wide, (dims.hidden,), role=Role.PROJECTION),
            *(module for name in _NORMS for module in norm(name, dims.hidden)),
        ]
        cache = sliding_window(dims, window) if types[index] == "sliding_attention" else full_attention(dims)
        return Layer(tuple(modules), () if shared else (cache,))

    return build


def embeddings(scope: Scope, dims: Dims) -> list[Module]:
    """What each layer is told of a word, and what spreads a hidden state over the streams."""
    config = scope.config
    width = dims.layers * _per_layer(config)
    return [
        embedding(config.integer("vocab_size_per_layer_input", default=262_144), width, "embed_tokens_per_layer"),
        scope.column("per_layer_model_projection", dims.hidden, (width,), role=Role.PROJECTION),
        *norm("per_layer_projection_norm", _per_layer(config)),
        *(scope.column(f"altup_projections.{index}", dims.hidden, (dims.hidden,), role=Role.PROJECTION) for index in range(_streams(config) - 1)),
    ]


def gathered(scope: Scope, dims: Dims) -> list[Module]:
    """What brings the streams together again."""
    return [
        scope.column(f"altup_unembed_projections.{index}", dims.hidden, (dims.hidden,), role=Role.PROJECTION) for index in range(_streams(scope.config) - 1)
    ]
