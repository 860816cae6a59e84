"""Qwen4Exp: gated delta nets and gated attention between hyper-connections of several residual streams, experts in every layer.

Sources: vllm/models/qwen4_exp/nvidia/{model,hyperconnection,mtp}.py, transformers' Qwen4ExpTextConfig, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, norm, unquantized
from planner.architecture.config import Config
from planner.architecture.hybrid import gated_delta_net
from planner.architecture.moe import qwen_moe_mlp
from planner.architecture.text import Dims, Layer, LayerBuilder, attention_modules, full_attention, layer_types
from planner.errors import UnknownArchitectureError
from planner.facts.modules import Module, Role
from planner.units import round_up

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


def qwen4_exp(config: Config, dims: Dims) -> LayerBuilder:
    """The decoder; `layer_types` say which layers attend, each fourth where they do not."""
    if config.items("ple_layer_ids"):
        raise UnknownArchitectureError(f"{config.path}: layers of Qwen4Exp with n-gram embeddings (ple_layer_ids) are not known")
    if config.has("indexer_n_heads"):
        raise UnknownArchitectureError(f"{config.path}: layers of Qwen4Exp with an indexer (indexer_n_heads) are not known")
    types, interval = layer_types(config, dims), config.integer("full_attention_interval", default=4)
    delta_net, state = gated_delta_net(config, dims, interleaved=False)

    def build(scope: Scope, index: int) -> Layer:
        full = types[index] != "linear_attention" if types else (index + 1) % interval == 0
        modules = [
            *(attention_modules(scope, dims, qk_norm=True, gate=True) if full else delta_net(scope)),
            *qwen_moe_mlp(scope, config, dims, index),
            *hyper_connection("attn_hyper_connection", config, dims),
            *hyper_connection("mlp_hyper_connection", config, dims),
        ]
        return Layer(tuple(modules), (full_attention(dims),) if full else (state,))

    return build


def last_mixer(scope: Scope, dims: Dims) -> list[Module]:
    """What mixes the streams into one before the output head."""
    return hyper_connection("hyper_connection_mixer", scope.config, dims, combines=False)


def joined_streams(scope: Scope, dims: Dims) -> list[Module]:
    """Before predicting layers: words and the streams behind a norm and a projection each."""
    at = scope.at("mtp.")
    return [
        at.column("fc_embedding", dims.hidden, (dims.hidden,), role=Role.PROJECTION),
        at.column("fc_hidden", dims.hidden, (dims.hidden,), role=Role.PROJECTION),
        *norm("pre_fc_norm_embedding", dims.hidden),
        *norm("pre_fc_norm_hidden", scope.config.integer("hc_mult", high=1024) * dims.hidden),
    ]
