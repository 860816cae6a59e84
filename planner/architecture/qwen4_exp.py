"""Qwen4Exp: gated delta nets and gated attention between hyper-connections of several residual streams, experts in every layer.

Beside them, where the config says so: an indexer that picks the tokens to attend to (QSA), in front of a layer embeddings of n-grams (ngrams.py).

Sources: vllm/models/qwen4_exp/{nvidia/{model,hyperconnection,mtp,qsa,indexer_qsa},common/qsa_cache}.py, transformers' Qwen4ExpTextConfig, 0.33.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture.blocks import Scope, norm, unquantized
from planner.architecture.config import Config
from planner.architecture.hybrid import gated_delta_net
from planner.architecture.moe import qwen_moe_mlp
from planner.architecture.ngrams import looked_up, ngram_embedding, ngram_layers
from planner.architecture.text import Dims, Layer, LayerBuilder, attention_modules, full_attention, layer_types
from planner.facts.attention import Attention, CompressedCache
from planner.facts.modules import Axis, Linear, Module, Role
from planner.facts.storage import BF16
from planner.units import round_up

_POSITION_BYTES = 24  # three 64-bit positions (qsa_cache.py QSAKeyStateCache)
_FP4 = ("modelopt_fp4",)  # whose matrices q, k and v are not (model.py without_modelopt_fp4)
_ROWS_MULTIPLE = 16  # of what mixes streams down and injects into them (hyperconnection.py)


def hyper_connection(name: str, config: Config, dims: Dims, *, combines: bool = True) -> list[Module]:
    """A norm of all streams, the low-rank maps that mix them into one, and (combines) what injects the block's output into each."""
    streams, rank = config.integer("hc_mult", high=1024), config.integer("hc_lowrank")
    width = streams * dims.hidden
    down = round_up(rank + streams, _ROWS_MULTIPLE) if combines else rank
    return [
        *norm(f"{name}.hc_norm", width),
        unquantized(f"{name}.input_mix_weight_down", width, down, role=Role.PROJECTION),
        unquantized(f"{name}.input_mix_weight_up", rank, width, role=Role.PROJECTION),
    ]


def attentive(config: Config, dims: Dims) -> list[bool]:
    """Which layers attend: those that `layer_types` do not call linear, each fourth where they say nothing."""
    types, interval = layer_types(config, dims), config.integer("full_attention_interval", default=4)
    return [types[index] != "linear_attention" if types else (index + 1) % interval == 0 for index in range(dims.layers)]


def attention(scope: Scope, config: Config, dims: Dims) -> tuple[list[Module], tuple[Attention, ...]]:
    """One gated attention layer; an indexer's queries and its only key are whole and in one matrix with q, k and v.

    Keys of a few tokens are kept as one; those of the tokens that are not yet so many lie in a ring, with their positions where there are three.
    """
    modules = attention_modules(scope, dims, qk_norm=True, gate=True)
    if not config.has("indexer_n_heads"):
        return modules, (full_attention(dims),)
    width, ratio = config.integer("indexer_head_dim"), config.integer("indexer_compress_ratio")
    fused, *rest = modules
    if isinstance(fused, Linear):
        index = Axis((config.integer("indexer_n_heads") + 1) * width)
        storage = BF16 if scope.quantization.name in _FP4 else fused.storage
        rest = [replace(fused, outputs=(*fused.outputs, index), storage=storage), *(module for module in rest if module not in scope.attention_scales())]
    norms = [*norm("self_attn.indexer.q_layernorm", width), *norm("self_attn.indexer.k_layernorm", width)]
    keys = CompressedCache(entry_bytes=2 * width, block_size=0, tokens_per_entry=ratio)
    ring = CompressedCache(entry_bytes=2 * width + _POSITION_BYTES, block_size=ratio, window=ratio, ring=True)
    return [*rest, *norms], (keys, ring, full_attention(dims))


def set_aside(config: Config, dims: Dims, _: bool) -> int:
    """Bytes for each token of a batch: of the indexers' picks a number for each token picked and how many they are, and rows of n-grams."""
    rows = looked_up(config, dims)
    if not config.has("indexer_n_heads"):
        return rows
    return rows + sum(attentive(config, dims)) * 4 * (config.integer("indexer_budget") + config.integer("indexer_compress_ratio"))


def qwen4_exp(config: Config, dims: Dims) -> LayerBuilder:
    """The decoder; `layer_types` say which layers attend, each fourth where they do not."""
    full, ngrams = attentive(config, dims), ngram_layers(config)
    delta_net, state = gated_delta_net(config, dims, interleaved=False)

    def build(scope: Scope, index: int) -> Layer:
        mixer, caches = attention(scope, config, dims) if full[index] else (delta_net(scope), (state,))
        before: list[Module] = []
        if index in ngrams:
            before, convolved = ngram_embedding(scope, config, dims, ngrams.index(index))
            caches = (*caches, convolved)
        modules = [
            *before,
            *mixer,
            *qwen_moe_mlp(scope, config, dims, index),
            *hyper_connection("attn_hyper_connection", config, dims),
            *hyper_connection("mlp_hyper_connection", config, dims),
        ]
        return Layer(tuple(modules), caches)

    return build


def last_mixer(scope: Scope, dims: Dims) -> list[Module]:
    """What mixes the streams into one before the output head."""
    return hyper_connection("hyper_connection_mixer", scope.config, dims, combines=False)


def predicting_keys(config: Config, count: int) -> Mapping[str, object]:
    """Every predicting layer attends, none has embeddings of n-grams."""
    return {"layer_types": ["full_attention"] * config.integer("num_hidden_layers"), "ple_layer_ids": []}


def joined_streams(scope: Scope, dims: Dims) -> list[Module]:
    """Before predicting layers: words and the streams behind a norm and a projection each."""
    at = scope.at("mtp.")
    return [
        at.column("fc_embedding", dims.hidden, (dims.hidden,), role=Role.PROJECTION),
        at.column("fc_hidden", dims.hidden, (dims.hidden,), role=Role.PROJECTION),
        *norm("pre_fc_norm_embedding", dims.hidden),
        *norm("pre_fc_norm_hidden", scope.config.integer("hc_mult", high=1024) * dims.hidden),
    ]
