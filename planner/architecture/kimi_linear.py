"""Kimi Linear and Kimi K3: Kimi delta attention with MLA every few layers, experts in a narrower space, residuals weighed by attention.

Sources: vllm/models/kimi_k3/nvidia/{model,kda,mla}.py, 0.33 (Kimi Linear is built by the same classes).
"""

from __future__ import annotations

from dataclasses import replace

from planner.architecture.blocks import Scope, correction_bias, gate, norm, plain, unquantized
from planner.architecture.config import Config
from planner.architecture.latent import latent_modules
from planner.architecture.text import Dims, Layer, LayerBuilder, two_norms
from planner.facts.attention import LatentAttention, RecurrentState
from planner.facts.modules import Axis, Linear, Module, Role, Split, Tensor, TensorRole

_NARROWEST_SLICE = 256  # of an expert's intermediate size (model.py min_moe_intermediate_per_partition)


def delta_attention(scope: Scope, linear: Config, dims: Dims) -> tuple[list[Module], RecurrentState]:
    """One KDA layer and its state. With a full-rank gate (K3) everything is one projection, padded; else the gate has a low rank."""
    heads, head_dim, kernel = linear.integer("num_heads"), linear.integer("head_dim"), linear.integer("short_conv_kernel_size", default=4)
    full_rank, width = linear.flag("use_full_rank_gate", default=False), heads * head_dim
    streams = [Axis(width, Split.TP)] * (4 if full_rank else 3)
    fused = scope.linear("self_attn.in_proj_qkvgfab", Axis(dims.hidden), [*streams, Axis(head_dim), Axis(heads, Split.TP)], parts=("q_proj",), role=Role.MIXER)
    modules: list[Module] = [
        replace(fused, rows_multiple=16) if full_rank else fused,
        Tensor(name="self_attn.dt_bias", axes=(Axis(width, Split.TP),), bits=32, role=TensorRole.ADDEND),
        Tensor(name="self_attn.A_log", axes=(Axis(heads, Split.TP),), bits=32),
        scope.column("self_attn.f_b_proj", head_dim, (width,), role=Role.MIXER),
        Tensor(name="self_attn.conv1d", axes=(Axis(3 * width, Split.TP), Axis(kernel)), bits=32),
        *norm("self_attn.o_norm", head_dim),
        scope.row("self_attn.o_proj", width, dims.hidden, role=Role.ATTENTION_OUTPUT),
    ]
    if not full_rank:
        modules += [
            scope.replicated("self_attn.g_a_proj", dims.hidden, (head_dim,), role=Role.MIXER),
            scope.column("self_attn.g_b_proj", head_dim, (width,), role=Role.MIXER),
        ]
    state = RecurrentState(
        tensors=(
            Tensor(name="conv", axes=(Axis(kernel - 1), Axis(3 * width, Split.TP))),
            Tensor(name="kda", axes=(Axis(heads, Split.TP), Axis(head_dim), Axis(head_dim)), bits=32),
        ),
        checkpoint_alignment=16 if full_rank and linear.has("gate_lower_bound") else 0,  # FlashKDA exports them (kda_checkpoint.py)
    )
    return modules, state


def gated_latent(scope: Scope, config: Config, dims: Dims) -> list[Module]:
    """MLA, its output gate fused with the down projections where there is one."""
    modules = latent_modules(scope, config, dims)
    if not config.flag("mla_use_output_gate", default=False):
        return modules
    first, rest = modules[0], modules[1:]
    gated = Axis(dims.heads * config.integer("v_head_dim"), Split.TP)
    if isinstance(first, Linear) and len(first.outputs) > 1:  # queries and keys share a down projection: the gate joins them
        return [replace(first, outputs=(*first.outputs, gated)), *rest]
    return [*modules, scope.linear("self_attn.g_proj", Axis(dims.hidden), [gated], role=Role.PROJECTION)]


def experts_mlp(scope: Scope, config: Config, dims: Dims) -> list[Module]:
    """Router, shared experts, routed experts; in K3 these work in `routed_expert_hidden_size` dimensions between two projections."""
    experts, intermediate = config.integer("num_experts"), config.integer("moe_intermediate_size")
    inner = config.integer("routed_expert_hidden_size", default=dims.hidden)
    modules: list[Module] = [gate("block_sparse_moe.gate", experts, dims.hidden), correction_bias("block_sparse_moe.gate.bias", experts)]
    shared = config.integer("num_shared_experts", default=0, low=0)
    if shared:
        modules.extend(scope.gated_mlp("block_sparse_moe.shared_experts", dims.hidden, shared * intermediate))
    if inner != dims.hidden:
        modules += [
            scope.replicated("block_sparse_moe.routed_expert_down_proj", dims.hidden, (inner,), role=Role.PROJECTION),
            scope.replicated("block_sparse_moe.routed_expert_up_proj", inner, (dims.hidden,), role=Role.PROJECTION),
            *(norm("block_sparse_moe.routed_expert_norm", inner) if config.flag("latent_moe_use_norm", default=False) else []),
        ]
    bank = scope.experts("block_sparse_moe.experts", experts, inner, intermediate)
    return [*modules, replace(bank, minimum_width=config.integer("min_moe_intermediate_per_partition", default=_NARROWEST_SLICE))]


def dense_mlp(scope: Scope, dims: Dims) -> list[Module]:
    """The MLP of a layer without experts: of the class of the shared experts, divided as they are (model.py KimiMLP)."""
    return [replace(module, as_shared_expert=True) for module in scope.gated_mlp("mlp", dims.hidden, dims.intermediate) if isinstance(module, Linear)]


def _residual(name: str, dims: Dims) -> list[Module]:
    return [*norm(f"{name}_res_norm", dims.hidden), unquantized(f"{name}_res_proj", dims.hidden, 1, role=Role.PROJECTION)]


def residual_end(scope: Scope, dims: Dims) -> list[Module]:
    """What weighs the residuals after the last layer."""
    return _residual("output_attn", dims) if scope.config.has("attn_res_block_size") else []


def delta_layers(config: Config) -> set[int]:
    """Layers with delta attention; the config counts from 1."""
    return {number - 1 for number in config.section("linear_attn_config").integers("kda_layers", low=1)}


def kimi_linear(config: Config, dims: Dims) -> LayerBuilder:
    """Kimi Linear 48B and Kimi K3."""
    linear, delta = config.section("linear_attn_config"), delta_layers(config)
    latent = LatentAttention(latent_dim=config.integer("kv_lora_rank"), rope_dim=config.integer("qk_rope_head_dim"))
    dense, step = config.integer("first_k_dense_replace", default=0, low=0), config.integer("moe_layer_freq", default=1)
    experts = config.integer("num_experts", default=0, low=0)

    def build(scope: Scope, index: int) -> Layer:
        if index in delta:
            modules, state = delta_attention(scope, linear, dims)
            caches: Layer = Layer((), (state,))
        else:
            modules, caches = gated_latent(scope, config, dims), Layer((), (latent,))
        routed = experts and index >= dense and index % step == 0
        modules += experts_mlp(scope, config, dims) if routed else dense_mlp(scope, dims)
        if config.has("attn_res_block_size"):
            modules += [*_residual("self_attention", dims), *_residual("mlp", dims)]
        return Layer((*modules, *two_norms(dims)), caches.attention)

    return build


def kimi_buffers(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """No rotary table; one scale more an MLA layer, and copies of the convolution for K3's fused decode kernel."""
    linear, delta = config.section("linear_attn_config"), delta_layers(config)
    buffers = [plain("attn.one_scale", dims.layers - len(delta), bits=32)]
    if linear.flag("use_full_rank_gate", default=False):
        width, kernel = linear.integer("num_heads") * linear.integer("head_dim"), linear.integer("short_conv_kernel_size", default=4)
        buffers.append(Tensor(name="decode_conv1d_weight", axes=(Axis(len(delta)), Axis(3 * kernel), Axis(width, Split.TP)), bits=32))
        buffers.append(plain("decode_norm_weight", len(delta), linear.integer("head_dim"), bits=32))
    return tuple(buffers)
