"""Decoders of linear attention with an attention layer every few: OLMo Hybrid (gated delta net), Ling 2.5 (lightning attention beside MLA).

Sources: vllm/model_executor/models/{olmo_hybrid,bailing_moe_linear}.py, layers/mamba/{gdn,lightning_attn}, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, norm
from planner.architecture.config import Config
from planner.architecture.experts import bailing_mlp
from planner.architecture.hybrid import state_bits
from planner.architecture.latent import latent_modules
from planner.architecture.rope import latent_rope, rope_tables
from planner.architecture.text import Dims, Layer, LayerBuilder, attention_modules, full_attention, layer_types, two_norms
from planner.errors import UnsupportedModelError
from planner.facts.attention import LatentAttention, RecurrentState
from planner.facts.modules import Axis, Module, Role, Split, Tensor, TensorRole
from planner.facts.storage import FP32


def olmo_hybrid(config: Config, dims: Dims) -> LayerBuilder:
    """OLMo Hybrid: three gated delta net layers to one of attention; norms behind the blocks of attention layers."""
    types = layer_types(config, dims) or ["full_attention" if index % 4 == 3 else "linear_attention" for index in range(dims.layers)]
    key_heads = config.integer("linear_num_key_heads", default=dims.heads)
    value_heads = config.integer("linear_num_value_heads", default=dims.heads)
    key_dim = config.integer("linear_key_head_dim", default=max(1, int(0.75 * dims.hidden / key_heads)))
    value_dim = config.integer("linear_value_head_dim", default=2 * key_dim)
    kernel = config.integer("linear_conv_kernel_dim", default=4, low=2)
    keys, values = key_heads * key_dim, value_heads * value_dim
    channels = Axis(2 * keys + values, Split.TP)
    state = RecurrentState(
        tensors=(
            Tensor(name="conv", axes=(Axis(kernel - 1), channels)),
            Tensor(name="ssm", axes=(Axis(value_heads, Split.TP), Axis(value_dim), Axis(key_dim)), bits=state_bits(config, "auto")),
        ),
        checkpoint_alignment=0,
    )

    def delta_net(scope: Scope) -> list[Module]:
        return [
            Tensor(name="linear_attn.dt_bias", axes=(Axis(value_heads, Split.TP),), role=TensorRole.ADDEND),
            Tensor(name="linear_attn.A_log", axes=(Axis(value_heads, Split.TP),)),
            Tensor(name="linear_attn.conv1d", axes=(channels, Axis(kernel))),
            scope.column(
                "linear_attn.in_proj_qkvg", dims.hidden, (keys, keys, values, values), parts=("q_proj", "k_proj", "v_proj", "g_proj"), role=Role.DELTA
            ),
            scope.column("linear_attn.b_proj", dims.hidden, (value_heads,), role=Role.MIXER),
            scope.column("linear_attn.a_proj", dims.hidden, (value_heads,), role=Role.MIXER),
            *norm("linear_attn.o_norm", value_dim),
            scope.row("linear_attn.o_proj", values, dims.hidden, role=Role.MIXER),
            *norm("input_layernorm", dims.hidden),
        ]

    def attention(scope: Scope) -> list[Module]:
        return [
            *attention_modules(scope, dims),
            *norm("self_attn.q_norm", dims.heads * dims.head_dim),
            *norm("self_attn.k_norm", dims.kv_heads * dims.head_dim),
            *norm("post_feedforward_layernorm", dims.hidden),
        ]

    def build(scope: Scope, index: int) -> Layer:
        full = types[index] == "full_attention"
        mixer = attention(scope) if full else delta_net(scope)
        modules = [*mixer, *scope.gated_mlp("mlp", dims.hidden, dims.intermediate), *norm("post_attention_layernorm", dims.hidden)]
        return Layer(tuple(modules), (full_attention(dims) if full else state,))

    return build


def bailing_linear(config: Config, dims: Dims) -> LayerBuilder:
    """Ling 2.5 and Ring 2.5: lightning attention, MLA in the last layer of each group, experts as in Ling 2."""
    group = config.integer("layer_group_size", default=1, low=0)
    head_dim = max(1, dims.hidden // dims.heads)
    width, bias, qkv_bias = dims.heads * head_dim, config.flag("use_bias", default=False), config.flag("use_qkv_bias", default=False)
    qk_norm = config.flag("use_qk_norm", default=False)
    latent = LatentAttention(latent_dim=config.integer("kv_lora_rank"), rope_dim=config.integer("qk_rope_head_dim"))
    matrix = Tensor(name="state", axes=(Axis(dims.heads, Split.TP), Axis(head_dim), Axis(head_dim)), bits=state_bits(config, "auto"))
    state = RecurrentState(tensors=(matrix,), checkpoint_alignment=0)

    def lightning(scope: Scope) -> list[Module]:
        norms = ("query", "key") if qk_norm else ()
        return [
            scope.column("self_attn.query_key_value", dims.hidden, (width, width, width), bias=bias or qkv_bias, parts=("query_key_value",), role=Role.MIXER),
            *(module for name in norms for module in norm(f"self_attn.{name}_layernorm", head_dim)),
            scope.column("self_attn.g_proj", dims.hidden, (width,), role=Role.MIXER),
            scope.row("self_attn.dense", width, dims.hidden, bias=bias, role=Role.MIXER),
            *norm("self_attn.g_norm", width, split=Split.TP, units=config.integer("group_norm_size", default=1)),
        ]

    def build(scope: Scope, index: int) -> Layer:
        full = not group or (index + 1) % group == 0
        mixer = latent_modules(scope, config, dims) if full else lightning(scope)
        return Layer((*mixer, *bailing_mlp(scope, dims, index, router=FP32), *two_norms(dims)), (latent if full else state,))

    return build


def bailing_delta(config: Config, dims: Dims) -> LayerBuilder:
    """Ling 3: Kimi delta attention without low ranks, MLA (with an output gate) in the last layer of each group, experts behind a biased router."""
    group = config.integer("layer_group_size")
    if not config.flag("no_kda_lora", default=False):
        raise UnsupportedModelError(f"{config.path}: BailingMoeV3 KDA currently expects no_kda_lora=True")
    head_dim, kernel = config.integer("head_dim"), config.integer("short_conv_kernel_size")
    width, gated = dims.heads * head_dim, config.text("gated_attention_proj_granularity_type", default="")
    gate_width = {"head_wise": dims.heads, "element_wise": dims.heads * config.integer("v_head_dim", default=128)}.get(gated, 0)
    latent = LatentAttention(latent_dim=config.integer("kv_lora_rank"), rope_dim=config.integer("qk_rope_head_dim"))
    conv = Tensor(name="conv", axes=(Axis(kernel - 1), Axis(3 * width, Split.TP)))
    matrix = Tensor(name="kda", axes=(Axis(dims.heads, Split.TP), Axis(head_dim), Axis(head_dim)), bits=32)
    state = RecurrentState(tensors=(conv, matrix), checkpoint_alignment=0)

    def delta(scope: Scope) -> list[Module]:
        return [
            scope.column(
                "self_attn.qkvb_proj", dims.hidden, (width, width, width, dims.heads), parts=("q_proj", "k_proj", "v_proj", "b_proj"), role=Role.MIXER
            ),
            scope.column("self_attn.f_proj", dims.hidden, (width,), role=Role.MIXER),
            scope.column("self_attn.g_proj", dims.hidden, (width,), role=Role.MIXER),
            Tensor(name="self_attn.dt_bias", axes=(Axis(width, Split.TP),), bits=32, role=TensorRole.ADDEND),
            Tensor(name="self_attn.A_log", axes=(Axis(dims.heads, Split.TP),), bits=32),
            Tensor(name="self_attn.conv1d", axes=(Axis(3 * width, Split.TP), Axis(kernel)), bits=32),
            *norm("self_attn.o_norm", head_dim),
            scope.row("self_attn.o_proj", width, dims.hidden, role=Role.ATTENTION_OUTPUT),
        ]

    def attention(scope: Scope) -> list[Module]:
        gate = scope.column("self_attn.g_proj", dims.hidden, (gate_width,), role=Role.PROJECTION)
        block = gate.storage.block
        if block and gate_width <= block.row_block:  # rows of one block have one scale, which no rank can cut (bailing_moe_v3.py replicate_g_proj)
            gate = scope.replicated("self_attn.g_proj", dims.hidden, (gate_width,), role=Role.PROJECTION)
        return [*latent_modules(scope, config, dims, output="dense"), *([gate] if gate_width else [])]

    def build(scope: Scope, index: int) -> Layer:
        full = (index + 1) % group == 0 or index >= dims.layers // group * group
        mixer = attention(scope) if full else delta(scope)
        return Layer((*mixer, *bailing_mlp(scope, dims, index, router=FP32), *two_norms(dims)), (latent if full else state,))

    return build


def biased_router(config: Config) -> Config:
    """Ling 3's router always has a correction bias."""
    return Config({**config.data, "moe_router_enable_expert_bias": True}, config.path)


def bailing_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """A table of MLA's rotated part, and one of the share of a head that lightning attention rotates."""
    head_dim = max(1, dims.hidden // dims.heads)
    share = config.number("partial_rotary_factor", default=1.0)
    return (*latent_rope(config, dims), *rope_tables(config, dims, rotary_dim=int(head_dim * share)))
