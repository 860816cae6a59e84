"""Decoders put together from parts: attention with keys and values of every head, a dense or a routed MLP, norms by name.

A model that differs from its kin in what its parts are is a row (`decoder(Heads(...), mlp, norms)`), not a function.
Sources: vllm/model_executor/models/{laguna,cohere2_moe,hy_v3,granite,granitemoeshared,...}.py and transformers/, 0.33.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from planner.architecture.blocks import Scope, correction_bias, gate, norm
from planner.architecture.config import Config
from planner.architecture.text import Dims, Layer, LayerBuilder, default_window, full_attention, layer_types, sliding_window
from planner.facts.attention import Attention
from planner.facts.modules import Axis, Linear, Module, Role, Split, Tensor, TensorRole
from planner.facts.record import dataclass
from planner.facts.storage import BF16, Storage

TWO = ("input_layernorm", "post_attention_layernorm")
FOUR = (*TWO, "pre_feedforward_layernorm", "post_feedforward_layernorm")
Mlp = Callable[[Scope, Dims, int], list[Module]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """What an attention layer has beside q, k, v and o; flags are the defaults of the Hugging Face class."""

    bias: bool = False
    bias_key: str = "attention_bias"
    output_bias: bool | None = None  # None: as q, k and v
    norms: str = ""  # of queries and keys: "head" a weight a dimension of one head, "whole" of all heads, "split" with the heads
    norms_key: str = ""  # the flag that says whether there are any
    gate: str = ""  # key of the gate's kind in the config: per head, or per dimension of every head
    gated: str = ""  # the gate's kind where the class decides: "per-head" or "per-element"
    gate_name: str = "g_proj"
    gate_joined: bool = False  # the gate is one matrix with q, k and v
    gate_bias: bool = False  # a bias a head
    sinks: bool = False
    window: int | None = None
    every: int = 0  # one layer in so many attends to everything: the last of them, or the first
    first: bool = False
    heads: str = ""  # key of a list with the number of heads of each layer

    def modules(self, scope: Scope, dims: Dims, heads: int) -> list[Module]:
        """The projections of one layer with `heads` query heads."""
        config = scope.config
        bias, parts = config.flag(self.bias_key, default=self.bias), ("q_proj", "k_proj", "v_proj", *(("output_gate_proj",) if self.gate_joined else ()))
        modules: list[Module] = [
            scope.qkv("self_attn.qkv_proj", dims.hidden, heads, dims.kv_heads, dims.head_dim, bias=bias, parts=parts),
            scope.row(
                "self_attn.o_proj",
                heads * dims.head_dim,
                dims.hidden,
                bias=bias if self.output_bias is None else self.output_bias,
                role=Role.ATTENTION_OUTPUT,
            ),
            *scope.attention_scales(),
        ]
        if self.norms and (not self.norms_key or config.flag(self.norms_key, default=False)):
            modules += self._norms(dims, heads)
        if self.sinks:
            modules.append(Tensor(name="self_attn.sinks", axes=(Axis(heads, Split.TP),), role=TensorRole.ADDEND))
        kind = self.gated or (config.data.get(self.gate) if self.gate else None)
        if kind:
            width = heads if kind is True or kind == "per-head" else heads * dims.head_dim
            first = modules[0]
            if self.gate_joined and isinstance(first, Linear):
                modules[0] = replace(first, outputs=(*first.outputs, Axis(width, Split.TP)))
            else:
                modules.append(scope.column(f"self_attn.{self.gate_name}", dims.hidden, (width,), role=Role.PROJECTION))
        if self.gate_bias:
            modules.append(Tensor(name="self_attn.gate_bias", axes=(Axis(heads, Split.TP),), role=TensorRole.ADDEND))
        return modules

    def _norms(self, dims: Dims, heads: int) -> list[Module]:
        if self.norms == "head":
            return [*norm("self_attn.q_norm", dims.head_dim), *norm("self_attn.k_norm", dims.head_dim)]
        split = self.norms == "split"
        return [
            *norm("self_attn.q_norm", heads * dims.head_dim, split=Split.TP if split else Split.WHOLE),
            *norm("self_attn.k_norm", dims.kv_heads * dims.head_dim, split=Split.HEADS if split else Split.WHOLE, units=dims.kv_heads),
        ]

    def kinds(self, config: Config, dims: Dims) -> list[str]:
        """The kind of each layer, by the config or by the class's pattern; empty where every layer is alike."""
        types = layer_types(config, dims)
        if types or not self.every:
            return types
        step, offset = config.integer("sliding_window_pattern", default=self.every), 0 if self.first else 1
        return ["full_attention" if (index + offset) % step == 0 else "sliding_attention" for index in range(dims.layers)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """A routed MLP by the keys of its config: experts, their width, the router, what stands beside them."""

    experts: tuple[str, ...] = ("num_experts", "num_local_experts")
    width: tuple[str, ...] = ("moe_intermediate_size",)
    router: Storage = BF16
    correction: bool = False
    shared: tuple[str, ...] = ()  # keys of the shared expert's whole width
    shared_count: tuple[str, ...] = ()  # or of how many experts' widths it has
    fused: bool = True  # gate and up are one matrix
    name: str = "mlp"

    def modules(self, scope: Scope, dims: Dims) -> list[Module]:
        """Router, shared expert and routed experts of one layer."""
        config = scope.config
        experts, width = config.integer(*self.experts), config.integer(*self.width, default=dims.intermediate)
        modules: list[Module] = [gate(f"{self.name}.gate", experts, dims.hidden, storage=self.router)]
        if self.correction:
            modules.append(correction_bias(f"{self.name}.gate.e_score_correction_bias", experts))
        shared = config.integer(*self.shared, default=0, low=0) if self.shared else 0
        shared = shared or (config.integer(*self.shared_count, default=0, low=0) * width if self.shared_count else 0)
        if shared:
            modules += dense(scope, f"{self.name}.shared_experts", dims.hidden, shared, fused=self.fused)
        return [*modules, scope.experts(f"{self.name}.experts", experts, dims.hidden, width)]


def dense(scope: Scope, name: str, hidden: int, width: int, *, fused: bool = True, bias: bool = False) -> list[Module]:
    """A gated MLP whose gate and up are one matrix, or two."""
    if fused:
        return scope.gated_mlp(name, hidden, width, bias=bias)
    up = [scope.column(f"{name}.{part}_proj", hidden, (width,), role=role, bias=bias) for part, role in (("gate", Role.GATE), ("up", Role.UP))]
    return [*up, scope.row(f"{name}.down_proj", width, hidden, role=Role.DOWN, bias=bias)]


def gated(bias_key: str = "mlp_bias", *, bias: bool = False) -> Mlp:
    """A dense MLP in every layer."""
    return lambda scope, dims, index: scope.gated_mlp("mlp", dims.hidden, dims.intermediate, bias=scope.config.flag(bias_key, default=bias))


def down_biased(scope: Scope, dims: Dims, index: int) -> list[Module]:
    """A dense MLP whose last matrix alone has a bias."""
    up, _ = scope.gated_mlp("mlp", dims.hidden, dims.intermediate)
    return [up, scope.row("mlp.down_proj", dims.intermediate, dims.hidden, bias=True, role=Role.DOWN)]


def ungated(bias_key: str = "mlp_bias", *, bias: bool = False) -> Mlp:
    """An MLP without gate in every layer."""
    return lambda scope, dims, index: scope.plain_mlp(
        "mlp.up_proj", "mlp.down_proj", dims.hidden, dims.intermediate, bias=scope.config.flag(bias_key, default=bias)
    )


def routed(bank: Bank, *, dense_layers: int = 0, dense_key: str = "first_k_dense_replace", dense_width: str = "intermediate_size") -> Mlp:
    """Experts where `mlp_layer_types` says sparse, or behind the first dense layers, whose number `dense_key` gives or the class defaults."""

    def build(scope: Scope, dims: Dims, index: int) -> list[Module]:
        kinds = scope.config.texts("mlp_layer_types")
        first = scope.config.integer(dense_key, default=dense_layers, low=0) if dense_key else dense_layers
        sparse = kinds[index] == "sparse" if index < len(kinds) else index >= first
        if sparse:
            return bank.modules(scope, dims)
        return dense(scope, bank.name, dims.hidden, scope.config.integer(dense_width, default=dims.intermediate), fused=bank.fused)

    return build


def decoder(heads: Heads, mlp: Mlp, norms: Sequence[str] = TWO, *, norm_bias: bool = False, wider: int = 0) -> Callable[[Config, Dims], LayerBuilder]:
    """A decoder of those parts; `wider`: tokens that a window reaches beyond what its config says."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        kinds = heads.kinds(config, dims)
        window = default_window(config, heads.window)
        counts = config.integers(heads.heads, low=1, count=dims.layers) if heads.heads and config.has(heads.heads) else [dims.heads] * dims.layers

        def build(scope: Scope, index: int) -> Layer:
            windowed = window and (not kinds or (index < len(kinds) and kinds[index] == "sliding_attention"))
            attention: Attention = sliding_window(dims, window + wider, sinks=heads.sinks) if windowed and window else full_attention(dims, sinks=heads.sinks)
            modules = [
                *heads.modules(scope, dims, counts[index] if index < len(counts) else dims.heads),
                *mlp(scope, dims, index),
                *(module for name in norms for module in norm(name, dims.hidden, bias=norm_bias)),
            ]
            return Layer(tuple(modules), (attention,))

        return build

    return bind
