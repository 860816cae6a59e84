"""Decoders of the first generation: learned positions or ALiBi, MLPs without gate, layer norms and biases.

Source: vllm/model_executor/models/{opt,gpt2,gpt_j,bloom,dbrx}.py; GPTBigCode is built by the Transformers backend, 0.33.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.architecture.blocks import Scope, norm, plain
from planner.architecture.config import Config
from planner.architecture.rope import rope_tables
from planner.architecture.text import Dims, Layer, LayerBuilder, full_attention
from planner.facts.modules import Module, Role, Tensor
from planner.facts.record import dataclass

GPT2_KEYS = {
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "n_layer": "num_hidden_layers",
    "n_positions": "max_position_embeddings",
    "n_inner": "intermediate_size",
}
BLOOM_KEYS = {"n_embed": "hidden_size", "n_head": "num_attention_heads", "n_layer": "num_hidden_layers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Classic:
    """What sets one of them apart; names are those of its checkpoint."""

    qkv: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    bias: bool = True  # of attention
    norms: tuple[str, ...] = ("ln_1", "ln_2")
    bias_key: str = ""  # a flag of its config that decides all biases
    norm_key: str = ""  # a flag of its config that decides whether norms have weights


GPT2 = Classic(qkv=("c_attn",))
GPTJ = Classic(bias=False, norms=("ln_1",))
BLOOM = Classic(qkv=("query_key_value",), norms=("input_layernorm", "post_attention_layernorm"))
OPT = Classic(norms=("self_attn_layer_norm", "final_layer_norm"), bias_key="enable_bias", norm_key="layer_norm_elementwise_affine")


def four_times_as_wide(config: Config) -> Config:
    """MLPs are four times as wide as the layers where the config does not say."""
    return Config({"intermediate_size": 4 * config.integer("hidden_size"), **config.data}, config.path)


def dbrx_sections(config: Config) -> Config:
    """Key-value heads and experts stand in sections; the rope's too, which needs no more than its default."""
    attention, mlp = config.section("attn_config"), config.section("ffn_config")
    own = {
        "num_key_value_heads": attention.integer("kv_n_heads", default=1),
        "intermediate_size": mlp.integer("ffn_hidden_size", default=3584),
        "moe_intermediate_size": mlp.integer("ffn_hidden_size", default=3584),
        "num_local_experts": mlp.integer("moe_num_experts", default=4),
        "num_experts_per_tok": mlp.integer("moe_top_k", default=1),
    }
    return Config({**config.data, **own}, config.path)


def gptj_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """A table as wide as the share of a head that is rotated."""
    return rope_tables(config, dims, rotary_dim=config.integer("rotary_dim", default=64))


def classic(shape: Classic) -> Callable[[Config, Dims], LayerBuilder]:
    """A decoder of that shape, with as many key-value heads as heads."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        whole = replace(dims, kv_heads=dims.heads)
        biased = not shape.bias_key or config.flag(shape.bias_key, default=True)
        normed = not shape.norm_key or config.flag(shape.norm_key, default=True)
        bias = shape.bias and biased

        def build(scope: Scope, index: int) -> Layer:
            modules: list[Module] = [
                scope.qkv("attn.qkv_proj", dims.hidden, dims.heads, dims.heads, dims.head_dim, bias=bias, parts=shape.qkv),
                scope.row("attn.out_proj", dims.hidden, dims.hidden, bias=bias, role=Role.ATTENTION_OUTPUT),
                *scope.attention_scales(),
                *scope.plain_mlp("mlp.fc_in", "mlp.fc_out", dims.hidden, dims.intermediate, bias=biased),
                *(module for name in shape.norms for module in norm(name, dims.hidden, bias=True) if normed),
            ]
            return Layer(tuple(modules), (full_attention(whole),))

        return build

    return bind


def opt_positions(scope: Scope, dims: Dims) -> list[Module]:
    """Learned positions, two more than the context; projections where the words are narrower than the layers."""
    width = scope.config.integer("word_embed_proj_dim", default=dims.hidden)
    positions: list[Module] = [plain("embed_positions", dims.max_length + 2, dims.hidden)]
    if width != dims.hidden:
        positions.append(scope.replicated("project_out", dims.hidden, (width,), role=Role.PROJECTION))
        positions.append(scope.replicated("project_in", width, (dims.hidden,), role=Role.PROJECTION))
    return positions


def opt_norm(scope: Scope, dims: Dims) -> list[Module]:
    """The final layer norm, where norms stand before their blocks."""
    config = scope.config
    before = config.flag("do_layer_norm_before", default=True) and not config.flag("_remove_final_layer_norm", default=False)
    return norm("final_layer_norm", dims.hidden, bias=True) if before and config.flag("layer_norm_elementwise_affine", default=True) else []


def gpt2_positions(scope: Scope, dims: Dims) -> list[Module]:
    """A learned vector for each position, whole on every rank."""
    return [plain("wpe", dims.max_length, dims.hidden)]


def word_layer_norm(scope: Scope, dims: Dims) -> list[Module]:
    """BLOOM's norm behind the words."""
    return norm("word_embeddings_layernorm", dims.hidden, bias=True)


def causal_mask(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """The mask of every pair of positions, a byte each, that StarCoder 1's Hugging Face class keeps."""
    return (plain("bias", dims.max_length, dims.max_length, bits=8),)


def big_code(config: Config, dims: Dims) -> LayerBuilder:
    """StarCoder 1: one key-value head, whole on every rank; so are the MLPs, and attention where each head has keys of its own."""
    shared = config.flag("multi_query", default=True)
    heads = replace(dims, kv_heads=1 if shared else dims.heads)
    width = dims.intermediate

    def build(scope: Scope, index: int) -> Layer:
        if shared:
            attention: list[Module] = [
                scope.qkv("attn.c_attn", dims.hidden, dims.heads, 1, dims.head_dim, bias=True, parts=("c_attn",)),
                scope.row("attn.c_proj", dims.hidden, dims.hidden, bias=True, role=Role.ATTENTION_OUTPUT),
            ]
        else:
            attention = [
                scope.replicated("attn.c_attn", dims.hidden, (3 * dims.hidden,), bias=True, role=Role.QKV),
                scope.replicated("attn.c_proj", dims.hidden, (dims.hidden,), bias=True, role=Role.ATTENTION_OUTPUT),
            ]
        modules: list[Module] = [
            *attention,
            *scope.attention_scales(),
            scope.replicated("mlp.c_fc", dims.hidden, (width,), bias=True, role=Role.UP),
            scope.replicated("mlp.c_proj", width, (dims.hidden,), bias=True, role=Role.DOWN),
            *norm("ln_1", dims.hidden, bias=True),
            *norm("ln_2", dims.hidden, bias=True),
        ]
        return Layer(tuple(modules), (full_attention(heads),))

    return build


def dbrx(config: Config, dims: Dims) -> LayerBuilder:
    """DBRX: every MLP routes; compressed-tensors knows no experts of a class of their own by its targets (compressed_tensors.py target_scheme_map)."""
    experts = config.integer("num_local_experts")

    def build(scope: Scope, index: int) -> Layer:
        routed = scope.plain() if scope.quantization.name == "compressed-tensors" else scope
        modules: list[Module] = [
            scope.qkv("norm_attn_norm.attn.Wqkv", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim, parts=("Wqkv",)),
            scope.row("norm_attn_norm.attn.out_proj", dims.hidden, dims.hidden, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
            *norm("norm_attn_norm.norm_1", dims.hidden),
            *norm("norm_attn_norm.norm_2", dims.hidden),
            plain("ffn.router.layer", experts, dims.hidden),
            routed.experts("ffn.experts", experts, dims.hidden, dims.intermediate),
        ]
        return Layer(tuple(modules), (full_attention(dims),))

    return build
