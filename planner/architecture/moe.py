"""Decoders with routed experts: Mixtral, Qwen MoE, GLM-4, MiniMax, gpt-oss, Llama 4, MiMo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.architecture.blocks import Scope, correction_bias, gate, norm, unquantized
from planner.architecture.config import Config
from planner.architecture.formats import PER_MATRIX, SCALE
from planner.architecture.text import (
    Dims,
    Layer,
    LayerBuilder,
    attention_modules,
    default_window,
    full_attention,
    layer_types,
    sliding_window,
    two_norms,
)
from planner.facts.attention import Attention, ChunkedLocal, FullAttention, SlidingWindow
from planner.facts.modules import Axis, Experts, Linear, Module, Role, Split, Tensor, TensorRole
from planner.facts.storage import BF16, FP32, Storage


def mixtral(config: Config, dims: Dims) -> LayerBuilder:
    """Mixtral: every MLP is a bank of experts."""
    experts = config.integer("num_local_experts")
    window = default_window(config, None)

    def build(scope: Scope, index: int) -> Layer:
        modules = [
            *attention_modules(scope, dims),
            gate("block_sparse_moe.gate", experts, dims.hidden),
            scope.experts("block_sparse_moe.experts", experts, dims.hidden, dims.intermediate),
            *two_norms(dims),
        ]
        return Layer(tuple(modules), (sliding_window(dims, window) if window else full_attention(dims),))

    return build


def qwen_moe_mlp(scope: Scope, config: Config, dims: Dims, index: int, *, quantized_gate: bool = False) -> list[Module]:
    """The MLP of one layer of Qwen2-MoE, Qwen3-MoE, Qwen3-Next or Qwen3.5: experts, with a gated shared expert where there is one.

    `quantized_gate`: the router is quantized like any other layer unless the checkpoint leaves it out (qwen3_moe.py).
    """
    experts = config.integer("num_experts", "num_local_experts", default=0, low=0)
    dense = index in config.integers("mlp_only_layers") or experts == 0
    if dense or (index + 1) % config.integer("decoder_sparse_step", default=1):
        return scope.gated_mlp("mlp", dims.hidden, dims.intermediate)
    router = scope.replicated("mlp.gate", dims.hidden, (experts,), role=Role.ROUTER) if quantized_gate else gate("mlp.gate", experts, dims.hidden)
    modules: list[Module] = [router]
    shared = config.integer("shared_expert_intermediate_size", default=0, low=0)
    if shared:
        modules.append(unquantized("mlp.shared_expert_gate", dims.hidden, 1, role=Role.ROUTER))
        modules.extend(scope.gated_mlp("mlp.shared_expert", dims.hidden, shared))
    modules.append(scope.experts("mlp.experts", experts, dims.hidden, config.integer("moe_intermediate_size")))
    return modules


def qwen_moe(*, bias: bool, qk_norm: bool, quantized_gate: bool) -> Callable[[Config, Dims], LayerBuilder]:
    """Qwen2-MoE (bias, no norms) and Qwen3-MoE (norms, no bias)."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        has_bias = config.flag("attention_bias", "qkv_bias", default=bias)

        def build(scope: Scope, index: int) -> Layer:
            attention = attention_modules(scope, dims, bias=has_bias, qk_norm=qk_norm)
            modules = [*attention, *qwen_moe_mlp(scope, config, dims, index, quantized_gate=quantized_gate), *two_norms(dims)]
            return Layer(tuple(modules), (full_attention(dims),))

        return build

    return bind


def _plain_router(module: Module) -> Module:
    if isinstance(module, Linear) and module.role is Role.ROUTER and module.storage.is_quantized:
        return replace(module, storage=BF16)
    return module


def plain_routers(layers: Callable[[Config, Dims], LayerBuilder]) -> Callable[[Config, Dims], LayerBuilder]:
    """The same layers, whose routers no quantization reaches: transformers' are no linear layers."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        build = layers(config, dims)

        def plain(scope: Scope, index: int) -> Layer:
            layer = build(scope, index)
            return replace(layer, modules=tuple(_plain_router(module) for module in layer.modules))

        return plain

    return bind


def routed_or_dense(
    scope: Scope,
    dims: Dims,
    *,
    routed: bool,
    router: Storage,
    correction: bool,
    experts: str = "n_routed_experts",
    shared: str | None = "n_shared_experts",
    least_shared: int = 0,
    bias: bool = False,
) -> list[Module]:
    """A DeepSeek-style MLP where the layer routes (router with correction bias, shared experts, routed experts), else a dense one with `bias`.

    `experts` and `shared` are the config's keys of their numbers; `least_shared` is how many there are where the key is missing.
    """
    if not routed:
        return scope.gated_mlp("mlp", dims.hidden, dims.intermediate, bias=bias)
    config = scope.config
    count, width = config.integer(experts), config.integer("moe_intermediate_size")
    modules: list[Module] = [gate("mlp.gate", count, dims.hidden, storage=router)]
    if correction:
        modules.append(correction_bias("mlp.gate.e_score_correction_bias", count))
    if shared and (beside := config.integer(shared, default=least_shared, low=0)):
        modules.extend(scope.gated_mlp("mlp.shared_experts", dims.hidden, beside * width))
    modules.append(scope.experts("mlp.experts", count, dims.hidden, width))
    return modules


def glm4_moe(config: Config, dims: Dims) -> LayerBuilder:
    """GLM-4.5 to 4.7: biased attention, optional norms of q and k, float32 router."""
    qk_norm, bias = config.flag("use_qk_norm", default=False), config.flag("attention_bias", default=False)
    dense = config.integer("first_k_dense_replace", default=1, low=0)

    def build(scope: Scope, index: int) -> Layer:
        mlp = routed_or_dense(scope, dims, routed=index >= dense, router=FP32, correction=True)
        modules = [*attention_modules(scope, dims, bias=bias, qk_norm=qk_norm), *mlp, *two_norms(dims)]
        return Layer(tuple(modules), (full_attention(dims),))

    return build


def ernie(config: Config, dims: Dims) -> LayerBuilder:
    """ERNIE 4.5 with experts: float32 router with correction bias, shared experts, dense layers at either end."""
    bias = config.flag("use_bias", default=False)
    first, step = config.integer("moe_layer_start_index", default=0, low=0), config.integer("moe_layer_interval", default=1)
    last = config.integer("moe_layer_end_index", default=dims.layers - 1, low=-1)
    last = dims.layers - 1 if last < 0 else last

    def build(scope: Scope, index: int) -> Layer:
        mlp = routed_or_dense(
            scope,
            dims,
            routed=first <= index <= last and (index + 1) % step == 0,
            router=FP32,
            correction=True,
            experts="moe_num_experts",
            shared="moe_num_shared_experts",
            bias=bias,
        )
        modules = [*attention_modules(scope, dims, bias=bias), *mlp, *two_norms(dims)]
        return Layer(tuple(modules), (full_attention(dims),))

    return build


def olmoe(config: Config, dims: Dims) -> LayerBuilder:
    """OLMoE: norms over all query and key heads, whole on every rank (FlexOlmo's other two norms lie behind the blocks)."""
    experts, bias = config.integer("num_experts"), config.flag("attention_bias", default=False)

    def build(scope: Scope, index: int) -> Layer:
        modules = [
            *attention_modules(scope, dims, bias=bias, output_bias=bias),
            *norm("self_attn.q_norm", dims.heads * dims.head_dim),
            *norm("self_attn.k_norm", dims.kv_heads * dims.head_dim),
            gate("mlp.gate", experts, dims.hidden),
            scope.experts("mlp.experts", experts, dims.hidden, dims.intermediate),
            *two_norms(dims),
        ]
        return Layer(tuple(modules), (full_attention(dims),))

    return build


def granite_moe(config: Config, dims: Dims) -> LayerBuilder:
    """Granite 3 with experts, and with a shared MLP beside them."""
    experts, shared = config.integer("num_local_experts"), config.integer("shared_intermediate_size", default=0, low=0)

    def build(scope: Scope, index: int) -> Layer:
        modules = [
            *attention_modules(scope, dims),
            gate("block_sparse_moe.gate", experts, dims.hidden),
            scope.experts("block_sparse_moe.experts", experts, dims.hidden, dims.intermediate),
            *(scope.gated_mlp("shared_mlp", dims.hidden, shared) if shared else []),
            *two_norms(dims),
        ]
        return Layer(tuple(modules), (full_attention(dims),))

    return build


def minimax_m2(config: Config, dims: Dims) -> LayerBuilder:
    """MiniMax-M2: norms over all query and key heads, split with them; float32 router."""
    experts = config.integer("num_local_experts")

    def build(scope: Scope, index: int) -> Layer:
        modules = [
            *attention_modules(scope, dims, bias=config.flag("attention_bias", default=False)),
            *norm("self_attn.q_norm", dims.heads * dims.head_dim, split=Split.TP),
            *norm("self_attn.k_norm", dims.kv_heads * dims.head_dim, split=Split.HEADS, units=dims.kv_heads),
            gate("block_sparse_moe.gate", experts, dims.hidden, storage=FP32),
            correction_bias("block_sparse_moe.e_score_correction_bias", experts),
            scope.experts("block_sparse_moe.experts", experts, dims.hidden, dims.intermediate),
            *two_norms(dims),
        ]
        return Layer(tuple(modules), (full_attention(dims),))

    return build


def _one_scale(bank: Experts, scope: Scope) -> Experts:
    """The same where Quark keeps one scale for gate and up together, as only gpt-oss's checkpoints do (quark_moe.py)."""
    if scope.quantization.name != "quark":
        return bank
    planes = tuple(PER_MATRIX if plane == SCALE else plane for plane in bank.storage.planes)
    return replace(bank, storage=replace(bank.storage, planes=planes))


def gpt_oss(config: Config, dims: Dims) -> LayerBuilder:
    """gpt-oss: biases everywhere, attention sinks, every other layer a sliding window."""
    experts = config.integer("num_local_experts", "num_experts")
    window = config.integer("sliding_window", default=128)
    types = layer_types(config, dims)

    def build(scope: Scope, index: int) -> Layer:
        windowed = types[index] == "sliding_attention" if types else index % 2 == 0
        modules: list[Module] = [
            Tensor(name="attn.sinks", axes=(Axis(dims.heads, Split.TP),), role=TensorRole.ADDEND),
            scope.qkv("attn.qkv_proj", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim, bias=True),
            scope.row("attn.o_proj", dims.heads * dims.head_dim, dims.hidden, bias=True, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
            gate("mlp.router", experts, dims.hidden, bias=True),
            _one_scale(scope.experts("mlp.experts", experts, dims.hidden, dims.intermediate, bias=True), scope),
            *two_norms(dims),
        ]
        attention = sliding_window(dims, window, sinks=True) if windowed else full_attention(dims, sinks=True)
        return Layer(tuple(modules), (attention,))

    return build


def llama4(config: Config, dims: Dims) -> LayerBuilder:
    """Llama 4: chunked local attention where there is rotary embedding, experts with one shared expert."""
    experts = config.integer("num_local_experts")
    step = config.integer("interleave_moe_layer_step", default=1)
    chunk = config.integer("attention_chunk_size", default=8192)
    no_rope = config.integers("no_rope_layers")
    dense_width = config.integer("intermediate_size_mlp", default=dims.intermediate)

    def build(scope: Scope, index: int) -> Layer:
        has_rope = bool(no_rope[index]) if index < len(no_rope) else (index + 1) % 4 != 0
        if (index + 1) % step == 0:
            mlp: list[Module] = [
                gate("feed_forward.router", experts, dims.hidden),
                *scope.gated_mlp("feed_forward.shared_expert", dims.hidden, dims.intermediate),
                scope.experts("feed_forward.experts", experts, dims.hidden, dims.intermediate),
            ]
        else:
            mlp = scope.gated_mlp("feed_forward", dims.hidden, dense_width)
        local = ChunkedLocal(kv_heads=dims.kv_heads, head_dim=dims.head_dim, head_dim_v=dims.head_dim, chunk=chunk)
        attention: Attention = local if has_rope else full_attention(dims)
        modules = [*attention_modules(scope, dims), *mlp, *two_norms(dims)]
        return Layer(tuple(modules), (attention,))

    return build


def mimo_v2(config: Config, dims: Dims) -> LayerBuilder:
    """MiMo-V2-Flash: windows with their own heads and sinks, values narrower than keys."""
    pattern = config.integers("hybrid_layer_pattern", count=dims.layers)
    moe_layers = config.integers("moe_layer_freq", count=dims.layers)
    sink_windows = config.flag("add_swa_attention_sink_bias", default=False)
    bias = config.flag("attention_bias", default=False)
    sink_full = config.flag("add_full_attention_sink_bias", default=False)

    def build(scope: Scope, index: int) -> Layer:
        windowed = pattern[index] == 1
        key = "swa_" if windowed else ""
        heads = config.integer(f"{key}num_attention_heads", default=dims.heads)
        kv_heads = config.integer(f"{key}num_key_value_heads", default=dims.kv_heads)
        head_dim = config.integer(f"{key}head_dim", default=dims.head_dim)
        head_dim_v = config.integer(f"{key}v_head_dim", "v_head_dim", default=head_dim)
        modules: list[Module] = [
            scope.qkv("self_attn.qkv_proj", dims.hidden, heads, kv_heads, head_dim, head_dim_v=head_dim_v, bias=bias),
            scope.row("self_attn.o_proj", heads * head_dim_v, dims.hidden, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
        ]
        if sink_windows if windowed else sink_full:
            modules.append(Tensor(name="self_attn.attention_sink_bias", axes=(Axis(heads, Split.TP),), role=TensorRole.ADDEND))
        modules += routed_or_dense(scope, dims, routed=bool(moe_layers[index]), router=FP32, correction=True, shared=None)
        modules += two_norms(dims)
        window = config.integer("sliding_window_size", "sliding_window", default=128)
        attention: Attention = (
            SlidingWindow(kv_heads=kv_heads, head_dim=head_dim, head_dim_v=head_dim_v, window=window, sinks=True)
            if windowed
            else FullAttention(kv_heads=kv_heads, head_dim=head_dim, head_dim_v=head_dim_v)
        )
        return Layer(tuple(modules), (attention,))

    return build
