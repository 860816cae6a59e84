"""K2 Horizon: routed experts behind attention whose values are routed too (MoVA), or which is plain.

Source: vllm/model_executor/models/k2_horizon.py, 0.33; its configuration class is the checkpoint's own, so that what it leaves out nobody knows.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, addend, norm
from planner.architecture.config import Config
from planner.architecture.rope import rope_tables
from planner.architecture.text import Dims, Layer, LayerBuilder, full_attention, two_norms
from planner.facts.modules import Axis, Module, Role, Split, Tensor


def k2_horizon(config: Config, dims: Dims) -> LayerBuilder:
    """Its layers: norms of all heads, a gate on what attention puts out, biases of the routers in 32 bits."""
    experts, values = config.integer("num_experts", low=0), config.integer("mova_num_experts", low=0)
    every, plain = config.integer("decoder_sparse_step", default=1), config.integers("mlp_only_layers")
    biased_gate = config.flag("moe_gate_bias", default=False)

    def build(scope: Scope, index: int) -> Layer:
        routed = experts > 0 and index not in plain and (index + 1) % every == 0
        modules = [*_attention(scope, dims, values if routed else 0, biased_gate), *two_norms(dims)]
        if not routed:
            return Layer((*modules, *scope.gated_mlp("mlp", dims.hidden, dims.intermediate)), (full_attention(dims),))
        width, shared = config.integer("moe_intermediate_size"), config.integer("num_shared_experts", default=0, low=0)
        modules += _router(scope, "mlp.gate", dims, experts, biased_gate)
        modules += scope.gated_mlp("mlp.shared_experts", dims.hidden, shared * width) if shared else []
        return Layer((*modules, scope.experts("mlp.experts", experts, dims.hidden, width)), (full_attention(dims),))

    return build


def _router(scope: Scope, name: str, dims: Dims, experts: int, biased: bool) -> list[Module]:
    return [scope.replicated(name, dims.hidden, (experts,), role=Role.ROUTER), *([addend(f"{name}.bias", experts, bits=32)] if biased else [])]


def _attention(scope: Scope, dims: Dims, values: int, biased_gate: bool) -> list[Module]:
    """Queries and keys are one matrix where `values` experts make the values, each of them a matrix."""
    config, width = scope.config, dims.heads * dims.head_dim
    bias = config.flag("attention_bias", default=False)
    fused = scope.qkv("self_attn.qkv_proj", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim, bias=bias)
    modules: list[Module] = [fused]
    if values:
        keys = Axis(dims.kv_heads * dims.head_dim, Split.HEADS, dims.kv_heads)
        axes, parts = [Axis(width, Split.TP), keys], ("q_proj", "k_proj")
        modules = [scope.linear("self_attn.qk_proj", Axis(dims.hidden), axes, role=Role.QKV, bias=bias, parts=parts)]
        modules += _router(scope, "self_attn.v_router", dims, values, biased_gate)
        modules += [scope.linear(f"self_attn.v_experts.{expert}", Axis(dims.hidden), [keys], role=Role.PROJECTION) for expert in range(values)]
    modules += [scope.row("self_attn.o_proj", width, dims.hidden, bias=bias, role=Role.ATTENTION_OUTPUT), *scope.attention_scales()]
    if config.flag("query_key_norm", default=False):
        modules += norm("self_attn.q_norm", width, split=Split.TP)
        modules += norm("self_attn.k_norm", dims.kv_heads * dims.head_dim, split=Split.HEADS, units=dims.kv_heads)
    if config.data.get("attention_gate_func") is not None:
        modules.append(scope.column("self_attn.gate_proj", dims.hidden, (width,), role=Role.PROJECTION))
    return modules


def partial_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """A table of the dimensions that are rotated."""
    return rope_tables(config, dims, rotary_dim=config.optional("rope_head_dim", low=1) or dims.head_dim)
