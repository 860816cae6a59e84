"""Decoders of Mamba 1 mixers, pure or beside attention: Mamba, Falcon Mamba, Jamba; pure Mamba 2; Zamba 2 with its shared attention.

Sources: vllm/model_executor/layers/mamba/{mamba_mixer,mamba_mixer2,mamba_utils}.py, models/{mamba,mamba2,jamba,zamba2}.py, 0.33.
"""

from __future__ import annotations

from dataclasses import replace

from planner.architecture.blocks import Scope, gate, norm, unquantized
from planner.architecture.config import Config
from planner.architecture.hybrid import mamba2, state_bits
from planner.architecture.rope import rope_tables
from planner.architecture.text import Dims, Layer, LayerBuilder, full_attention, layer_types
from planner.errors import PlannerError
from planner.facts.attention import FullAttention, RecurrentState
from planner.facts.modules import Axis, Module, Role, Split, Tensor, TensorRole
from planner.units import ceil_div


def mamba1(config: Config, dims: Dims, *, inner: int, prefix: str = "", normed: bool = False) -> tuple[list[Module], RecurrentState]:
    """One Mamba 1 mixer, never quantized, and its state; `prefix` is that of its config's keys ("mamba_" where attention stands beside)."""
    state = config.integer(f"{prefix}d_state", "state_size", default=16)
    kernel = config.integer(f"{prefix}d_conv", "conv_kernel", default=4, low=2)
    rank_key = f"{prefix}dt_rank" if prefix else "time_step_rank"
    rank = ceil_div(dims.hidden, 16) if config.data.get(rank_key, "auto") == "auto" else config.integer(rank_key)
    bias = config.flag(f"{prefix}proj_bias", "use_bias", default=False)
    channels = Axis(inner, Split.TP)
    modules: list[Module] = [
        Tensor(name="mixer.A", axes=(channels, Axis(state)), bits=32),
        Tensor(name="mixer.D", axes=(channels,)),
        Tensor(name="mixer.conv1d", axes=(channels, Axis(kernel))),
        unquantized("mixer.in_proj", dims.hidden, 2 * inner, split_out=Split.TP, role=Role.MIXER, bias=bias),
        unquantized("mixer.x_proj", inner, rank + 2 * state, split_in=Split.TP, role=Role.MIXER),
        unquantized("mixer.dt_proj", rank, inner, split_out=Split.TP, role=Role.MIXER, bias=True),
        unquantized("mixer.out_proj", inner, dims.hidden, split_in=Split.TP, role=Role.MIXER, bias=bias),
    ]
    if config.flag(f"{prefix}conv_bias", "use_conv_bias", default=True):
        modules.append(Tensor(name="mixer.conv1d.bias", axes=(channels,), role=TensorRole.ADDEND))
    if normed:
        modules += [*norm("mixer.dt_layernorm", rank), *norm("mixer.b_layernorm", state), *norm("mixer.c_layernorm", state)]
    conv = Tensor(name="conv", axes=(Axis(kernel - 1), channels))
    ssm = Tensor(name="ssm", axes=(channels, Axis(state)), bits=state_bits(config, "auto"))
    return modules, RecurrentState(tensors=(conv, ssm), checkpoint_alignment=0)


def mamba(config: Config, dims: Dims) -> LayerBuilder:
    """Mamba and Falcon Mamba: a mixer and a norm in every layer."""
    inner = config.integer("intermediate_size", default=config.integer("expand", default=2) * dims.hidden)
    mixer, state = mamba1(config, dims, inner=inner)
    layer = Layer((*mixer, *norm("norm", dims.hidden)), (state,))
    return lambda scope, index: layer


def mamba2_only(config: Config, dims: Dims) -> LayerBuilder:
    """Mamba 2 and Codestral Mamba: a mixer and a norm in every layer."""

    def build(scope: Scope, index: int) -> Layer:
        mixer, state = mamba2(
            scope,
            "mixer",
            dims,
            heads=config.integer("num_heads", default=128),
            head_dim=config.integer("head_dim", default=64),
            groups=config.integer("n_groups", default=8),
            state=config.integer("state_size", default=128),
            kernel=config.integer("conv_kernel", default=4),
            bias=config.flag("use_bias", default=False),
            ssm_bits=state_bits(config, "auto"),
            conv_bias=config.flag("use_conv_bias", default=True),
        )
        return Layer((*mixer, *norm("norm", dims.hidden)), (state,))

    return build


def jamba(config: Config, dims: Dims) -> LayerBuilder:
    """Jamba: attention in one layer of eight, experts in every other one."""
    every, offset = config.integer("attn_layer_period", default=8), config.integer("attn_layer_offset", default=4, low=0)
    expert_every, expert_offset = config.integer("expert_layer_period", default=2), config.integer("expert_layer_offset", default=1, low=0)
    experts = config.integer("num_experts", default=16)
    inner = config.integer("mamba_expand", default=2) * dims.hidden
    mixer, state = mamba1(config, dims, inner=inner, prefix="mamba_", normed=True)

    def mlp(scope: Scope, index: int) -> list[Module]:
        if experts == 1 or index % expert_every != expert_offset:
            return scope.gated_mlp("feed_forward", dims.hidden, dims.intermediate)
        return [gate("feed_forward.router", experts, dims.hidden), scope.experts("feed_forward.experts", experts, dims.hidden, dims.intermediate)]

    def build(scope: Scope, index: int) -> Layer:
        attentive = index % every == offset
        attention: list[Module] = [
            scope.qkv("self_attn.qkv_proj", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim),
            scope.row("self_attn.o_proj", dims.heads * dims.head_dim, dims.hidden, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
        ]
        norms = [*norm("input_layernorm", dims.hidden), *norm("pre_ff_layernorm", dims.hidden)]
        return Layer((*(attention if attentive else mixer), *mlp(scope, index), *norms), (full_attention(dims) if attentive else state,))

    return build


def zamba2_keys(config: Config) -> Config:
    """Zamba 2's MLP is four times as wide where the config does not say; its longer context is a flag."""
    longer = {"max_position_embeddings": 16_384} if config.flag("use_long_context", default=False) else {}
    return Config({"intermediate_size": 4 * config.integer("hidden_size"), "max_position_embeddings": 4096, **config.data, **longer}, config.path)


def zamba2_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """A table as wide as the shared block's heads, where it rotates them."""
    return rope_tables(config, dims, rotary_dim=2 * dims.hidden // dims.heads) if config.flag("use_mem_rope", default=False) else ()


def _adapter(scope: Scope, name: str, inputs: int, rank: int, outputs: tuple[int, ...]) -> list[Module]:
    """A low-rank addition to a shared matrix."""
    return [scope.column(f"{name}.A", inputs, (rank,), role=Role.PROJECTION), scope.column(f"{name}.B", rank, outputs, role=Role.PROJECTION)]


def zamba2(config: Config, dims: Dims) -> LayerBuilder:
    """Zamba 2: Mamba 2 in every layer; some run a shared attention block first, each with adapters and a cache of its own."""
    kinds = layer_types(config, dims) or config.texts("layers_block_type")
    if len(kinds) < dims.layers:
        raise PlannerError(f"{config.path}: layers_block_type has {len(kinds)} entries for {dims.layers} layers")
    blocks, rank = config.integer("num_mem_blocks", default=1), config.integer("adapter_rank", default=128)
    hybrids = [index for index, kind in enumerate(kinds[: dims.layers]) if kind == "hybrid"]
    wide = 2 * dims.hidden
    head_dim = wide // dims.heads
    heads = replace(dims, kv_heads=dims.heads, head_dim=head_dim)
    shared_adapter, bias = config.flag("use_shared_attention_adapter", default=False), config.flag("add_bias_linear", default=False)
    mixer_heads = config.integer("n_mamba_heads", default=8)
    inner = config.integer("mamba_expand", default=2) * dims.hidden

    def block(scope: Scope) -> list[Module]:
        """A shared block, kept once however many layers run it."""
        return [
            scope.qkv("shared_transformer.self_attn.qkv_proj", wide, dims.heads, dims.heads, head_dim),
            scope.row("shared_transformer.self_attn.o_proj", wide, dims.hidden, role=Role.ATTENTION_OUTPUT),
            *scope.gated_mlp("shared_transformer.feed_forward", dims.hidden, dims.intermediate, bias=bias),
            *norm("shared_transformer.input_layernorm", wide),
            *norm("shared_transformer.pre_ff_layernorm", dims.hidden),
        ]

    def hybrid(scope: Scope, index: int) -> list[Module]:
        modules: list[Module] = block(scope) if hybrids.index(index) < blocks else []
        modules.append(scope.replicated("linear", dims.hidden, (dims.hidden,), role=Role.PROJECTION))
        modules += _adapter(scope, "gate_up_proj_adapter", dims.hidden, rank, (dims.intermediate, dims.intermediate))
        if shared_adapter:
            modules += [module for part in "qkv" for module in _adapter(scope, f"linear_{part}_adapter", wide, rank, (wide,))]
        return modules

    def build(scope: Scope, index: int) -> Layer:
        mixer, state = mamba2(
            scope,
            "mamba",
            dims,
            heads=mixer_heads,
            head_dim=inner // mixer_heads,
            groups=config.integer("mamba_ngroups", default=1),
            state=config.integer("mamba_d_state", default=64),
            kernel=config.integer("mamba_d_conv", default=4),
            bias=bias,
            ssm_bits=state_bits(config, "auto"),
            conv_bias=config.flag("use_conv_bias", default=True),
        )
        modules = [*mixer, *norm("input_layernorm", dims.hidden)]
        if kinds[index] != "hybrid":
            return Layer(tuple(modules), (state,))
        cache: FullAttention = full_attention(heads)
        return Layer((*modules, *hybrid(scope, index)), (state, cache))

    return build
