"""Whisper's decoder: self-attention over the text, cross-attention over the sound that its encoder heard.

Source: vllm/model_executor/models/whisper.py, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, norm, plain
from planner.architecture.config import Config
from planner.architecture.text import Dims, Layer, LayerBuilder, full_attention
from planner.facts.attention import CrossAttention
from planner.facts.modules import Module, Role


def decoder_sizes(config: Config) -> Config:
    """The decoder's own numbers under the names that other decoders have."""
    heads = config.integer("decoder_attention_heads", default=6)
    sizes = {
        "hidden_size": config.integer("d_model", default=384),
        "num_hidden_layers": config.integer("decoder_layers", default=4, high=500),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": config.integer("decoder_ffn_dim", default=1536),
        "max_position_embeddings": config.integer("max_target_positions", default=448),
    }
    return Config({**config.data, **sizes}, config.path)


def whisper(config: Config, dims: Dims) -> LayerBuilder:
    """A layer of the decoder; every projection has a bias, queries of the cross-attention stand apart from its keys and values."""
    cross = CrossAttention(kv_heads=dims.kv_heads, head_dim=dims.head_dim, head_dim_v=dims.head_dim)

    def build(scope: Scope, index: int) -> Layer:
        inner = dims.heads * dims.head_dim
        modules = [
            scope.qkv("self_attn.qkv_proj", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim, bias=True),
            scope.row("self_attn.out_proj", inner, dims.hidden, bias=True, role=Role.ATTENTION_OUTPUT),
            scope.column("encoder_attn.q_proj", dims.hidden, (inner,), bias=True, role=Role.QUERY),
            scope.column("encoder_attn.kv_proj", dims.hidden, (inner, inner), bias=True, parts=("k_proj", "v_proj"), role=Role.KEY),
            scope.row("encoder_attn.out_proj", inner, dims.hidden, bias=True, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
            *scope.attention_scales(),
            *scope.plain_mlp("mlp.fc1", "mlp.fc2", dims.hidden, dims.intermediate, bias=True),
            *(module for name in ("self_attn", "encoder_attn", "final") for module in norm(f"{name}_layer_norm", dims.hidden, bias=True)),
        ]
        return Layer(tuple(modules), (full_attention(dims), cross))

    return build


def positions(scope: Scope, dims: Dims) -> list[Module]:
    """Learned positions of the text."""
    return [plain("embed_positions", dims.max_length, dims.hidden)]
