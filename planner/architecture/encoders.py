"""Encoders that embed text and keep no cache: BERT, RoBERTa (bge, e5) and their rerankers, ModernBERT, Nomic BERT with and without experts.

Source: vllm/model_executor/models/bert.py, roberta.py, modernbert.py, bert_with_rope.py.
"""

from __future__ import annotations

from dataclasses import replace

from planner.architecture.blocks import Scope, addend, embedding, gate, norm
from planner.architecture.config import Config
from planner.architecture.rope import rope_tables
from planner.architecture.text import Dims, Layer, LayerBuilder
from planner.facts.modules import Axis, Module, Role, Split, Tensor
from planner.units import round_up


def bert(config: Config, dims: Dims) -> LayerBuilder:
    """BERT and RoBERTa: biases and layer norms everywhere, the norms after attention and MLP (with learned positions or rotated ones)."""

    def build(scope: Scope, index: int) -> Layer:
        modules = [
            scope.qkv("attention.self.qkv_proj", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim, bias=True, parts=("query", "key", "value")),
            scope.row("attention.output.dense", dims.hidden, dims.hidden, bias=True, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
            *scope.plain_mlp("intermediate.dense", "output.dense", dims.hidden, dims.intermediate, bias=True),
            *norm("attention.output.LayerNorm", dims.hidden, bias=True),
            *norm("output.LayerNorm", dims.hidden, bias=True),
        ]
        return Layer(tuple(modules), ())

    return build


def bert_embedding(scope: Scope, dims: Dims) -> list[Module]:
    """Learned positions and token types beside the words, and their norm; Jina's models have rotary positions instead."""
    positions = embedding(scope.config.integer("max_position_embeddings", default=512), dims.hidden, "position_embeddings")
    return [*([] if is_rotary(scope.config) else [positions]), *typed_embedding(scope, dims)]


def is_rotary(config: Config) -> bool:
    """Whether positions are rotated in, as in jina-embeddings-v3 (roberta.py RobertaEmbeddingModel)."""
    return config.text("position_embedding_type", default="absolute") != "absolute"


def bert_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """A table where positions are rotary, its length a multiple of eight (models/config.py JinaRobertaModelConfig)."""
    longer = replace(dims, max_length=round_up(dims.max_length, 8))
    return rope_tables(config, longer, rotary_dim=config.optional("rotary_emb_dim")) if is_rotary(config) else ()


def typed_embedding(scope: Scope, dims: Dims) -> list[Module]:
    """Token types beside the words, and the norm of their sum."""
    types = scope.config.integer("type_vocab_size", default=2, low=0)
    return [*([embedding(types, dims.hidden, "token_type_embeddings")] if types else []), *norm("embeddings.LayerNorm", dims.hidden, bias=True)]


def modernbert(config: Config, dims: Dims) -> LayerBuilder:
    """ModernBERT: rotary positions, gated MLPs stored fused, no norm before the first attention."""
    bias, norm_bias = config.flag("attention_bias", default=False), config.flag("norm_bias", default=False)
    mlp_bias = config.flag("mlp_bias", default=False)

    def build(scope: Scope, index: int) -> Layer:
        modules = [
            scope.qkv("attn.Wqkv", dims.hidden, dims.heads, dims.heads, dims.hidden // dims.heads, bias=bias, parts=("Wqkv",)),
            scope.row("attn.Wo", dims.hidden, dims.hidden, bias=bias, role=Role.ATTENTION_OUTPUT),
            scope.column("mlp.Wi", dims.hidden, (dims.intermediate, dims.intermediate), bias=mlp_bias, parts=("Wi",), role=Role.GATE_UP),
            scope.row("mlp.Wo", dims.intermediate, dims.hidden, bias=mlp_bias, role=Role.DOWN),
            *norm("mlp_norm", dims.hidden, bias=norm_bias),
            *(norm("attn_norm", dims.hidden, bias=norm_bias) if index else []),
        ]
        return Layer(tuple(modules), ())

    return build


def word_norm(scope: Scope, dims: Dims) -> list[Module]:
    """The norm of the words alone."""
    return norm("embeddings.norm", dims.hidden, bias=scope.config.flag("norm_bias", default=False))


def nomic(config: Config, dims: Dims) -> LayerBuilder:
    """Nomic BERT: rotary positions, gated MLPs in v1.5; in v2 every other layer is a bank of ungated experts."""
    bias, gated = config.flag("qkv_proj_bias", default=True), config.text("activation_function", default="gelu") == "swiglu"
    experts, every = config.integer("num_experts", default=0, low=0), config.integer("moe_every_n_layers", default=0, low=0)

    def bank() -> list[Module]:
        size = (Axis(experts), Axis(dims.intermediate, Split.TP), Axis(dims.hidden))
        return [
            gate("mlp.router", experts, dims.hidden),
            Tensor(name="mlp.w1", axes=size),
            Tensor(name="mlp.w2", axes=size),
            addend("mlp.bias", dims.hidden),
        ]

    def build(scope: Scope, index: int) -> Layer:
        if every and index % every == 1:
            mlp = bank()
        elif gated:
            mlp = scope.gated_mlp("mlp", dims.hidden, dims.intermediate, bias=bias)
        else:
            mlp = scope.plain_mlp("mlp.up_proj", "mlp.down_proj", dims.hidden, dims.intermediate, bias=bias)
        modules = [
            scope.qkv("attn.qkv_proj", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim, bias=bias, parts=("Wqkv",)),
            scope.row("attn.out_proj", dims.hidden, dims.hidden, bias=bias, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
            *mlp,
            *norm("attn_ln", dims.hidden, bias=True),
            *norm("mlp_ln", dims.hidden, bias=True),
        ]
        return Layer(tuple(modules), ())

    return build


def gte(config: Config, dims: Dims) -> LayerBuilder:
    """GTE (gte-*-v1.5, gte-multilingual, Arctic-M 2.0): rotary positions, gated MLPs whose first matrix has no bias."""
    bias = config.flag("bias", default=True)

    def build(scope: Scope, index: int) -> Layer:
        modules = [
            scope.qkv("attn.qkv_proj", dims.hidden, dims.heads, dims.heads, dims.head_dim, bias=bias, parts=("qkv_proj",)),
            scope.row("attn.out_proj", dims.hidden, dims.hidden, bias=bias, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
            scope.column("mlp.gate_up_proj", dims.hidden, (dims.intermediate, dims.intermediate), role=Role.GATE_UP, parts=("up_gate_proj",)),
            scope.row("mlp.down_proj", dims.intermediate, dims.hidden, bias=bias, role=Role.DOWN),
            *norm("attn_ln", dims.hidden, bias=True),
            *norm("mlp_ln", dims.hidden, bias=True),
        ]
        return Layer(tuple(modules), ())

    return build
