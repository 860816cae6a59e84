"""More decoders with routed experts: AFMoE, K-EXAONE, Phi-3.5-MoE, Hunyuan, FlexOlmo, Ling, Step 3.5, the first DeepSeek MoE.

Source: vllm/model_executor/models/{afmoe,exaone_moe,phimoe,bailing_moe,step3p5,deepseek_v2}.py and transformers/ (the Transformers backend), 0.33.
"""

from __future__ import annotations

from dataclasses import replace

from planner.architecture.blocks import Scope, correction_bias, gate, norm, plain, wide
from planner.architecture.config import Config
from planner.architecture.moe import routed_or_dense
from planner.architecture.text import Dims, Layer, LayerBuilder, attention_modules, default_window, full_attention, layer_types, sliding_window, two_norms
from planner.errors import PlannerError
from planner.facts.attention import Attention
from planner.facts.modules import Axis, Linear, Module, Role, Split, Tensor, TensorRole
from planner.facts.storage import BF16, FP32, Storage

_SPARSE = "sparse"


def _windowed(types: list[str], index: int) -> bool:
    return bool(types) and types[index] == "sliding_attention"


def afmoe(config: Config, dims: Dims) -> LayerBuilder:
    """Arcee's Trinity: gated attention, three windows to one full layer, a float32 router, four norms a layer."""
    types = layer_types(config, dims) or layer_types(config, dims, every=config.integer("global_attn_every_n_layers", default=4))
    window, dense = config.integer("sliding_window", default=1024), config.integer("num_dense_layers", default=1, low=0)

    def build(scope: Scope, index: int) -> Layer:
        mlp = routed_or_dense(
            scope, dims, routed=index >= dense, router=FP32, correction=True, experts="num_experts", shared="num_shared_experts", least_shared=1
        )
        modules = [
            *attention_modules(scope, dims, qk_norm=True),
            scope.column("self_attn.gate_proj", dims.hidden, (dims.heads * dims.head_dim,), role=Role.PROJECTION),
            *mlp,
            *two_norms(dims),
            *norm("pre_mlp_layernorm", dims.hidden),
            *norm("post_mlp_layernorm", dims.hidden),
        ]
        return Layer(tuple(modules), (sliding_window(dims, window) if _windowed(types, index) else full_attention(dims),))

    return build


def exaone_moe(config: Config, dims: Dims) -> LayerBuilder:
    """K-EXAONE: norms of q and k, three windows to one full layer, the first layer dense."""
    types = layer_types(config, dims) or layer_types(config, dims, every=4)
    window = default_window(config, None)
    dense = config.integer("first_k_dense_replace", default=1, low=0)
    kinds = config.texts("mlp_layer_types") or ["dense"] * dense + [_SPARSE] * dims.layers
    if len(kinds) < dims.layers:
        raise PlannerError(f"{config.path}: mlp_layer_types has {len(kinds)} entries for {dims.layers} layers")
    bias = config.either("attention_bias", "bias")

    def build(scope: Scope, index: int) -> Layer:
        mlp = routed_or_dense(
            scope,
            dims,
            routed=kinds[index] == _SPARSE,
            router=BF16,
            correction=True,
            experts="num_experts",
            shared="num_shared_experts",
            least_shared=1,
            bias=config.flag("mlp_bias", default=False),
        )
        modules = [*attention_modules(scope, dims, bias=bias, output_bias=bias, qk_norm=True), *mlp, *two_norms(dims)]
        return Layer(tuple(modules), (sliding_window(dims, window) if window and _windowed(types, index) else full_attention(dims),))

    return build


def phi_moe(config: Config, dims: Dims) -> LayerBuilder:
    """Phi-3.5-MoE: biases in attention, layer norms with biases."""
    experts = config.integer("num_local_experts", default=16)
    window = default_window(config, None)

    def build(scope: Scope, index: int) -> Layer:
        modules = [
            *attention_modules(scope, dims, bias=True, output_bias=True),
            gate("block_sparse_moe.gate", experts, dims.hidden),
            scope.experts("block_sparse_moe.experts", experts, dims.hidden, dims.intermediate),
            *norm("input_layernorm", dims.hidden, bias=True),
            *norm("post_attention_layernorm", dims.hidden, bias=True),
        ]
        return Layer(tuple(modules), (sliding_window(dims, window) if window else full_attention(dims),))

    return build


def head_bias(scope: Scope, dims: Dims) -> list[Module]:
    """A bias for each word of the output head."""
    return [Tensor(name="lm_head.bias", axes=(Axis(dims.vocab, Split.VOCAB),), role=TensorRole.ADDEND)]


def hunyuan_moe(config: Config, dims: Dims) -> LayerBuilder:
    """Hunyuan A13B: norms of q and k, a shared MLP beside the experts; sizes may be listed for each layer."""
    experts = config.largest("num_experts")
    width = config.largest("moe_intermediate_size", default=dims.intermediate)
    shared = config.largest("num_shared_expert", default=0, low=0) if config.flag("use_mixed_mlp_moe", default=True) else 0
    bias = config.flag("attention_bias", default=False)

    def build(scope: Scope, index: int) -> Layer:
        modules = [
            *attention_modules(scope, dims, bias=bias, output_bias=bias, qk_norm=config.flag("use_qk_norm", default=True)),
            scope.replicated(
                "mlp.gate.wg", dims.hidden, (experts,), role=Role.ROUTER
            ),  # the Transformers backend quantizes every linear layer that is not left out
            *(scope.gated_mlp("mlp.shared_mlp", dims.hidden, shared * width) if shared else []),
            scope.experts("mlp.experts", experts, dims.hidden, width),
            *two_norms(dims),
        ]
        return Layer(tuple(modules), (full_attention(dims),))

    return build


def bailing_mlp(scope: Scope, dims: Dims, index: int, *, router: Storage | None = None) -> list[Module]:
    """The MLP of one layer of Ling and Ring: dense in the first layers, then experts with shared ones; the router as `router_dtype` says, or `router`."""
    config = scope.config
    bias, width = config.flag("use_bias", default=False), config.integer("moe_intermediate_size")
    if index < config.integer("first_k_dense_replace", default=0, low=0):
        return scope.gated_mlp("mlp", dims.hidden, dims.intermediate, bias=bias)
    shared = config.integer("num_shared_experts", default=0, low=0)
    shared_width = config.integer("moe_shared_expert_intermediate_size", default=width) * shared
    stored = FP32 if config.text("router_dtype", default="") == "fp32" else router or BF16
    experts = config.integer("num_experts")
    return [
        gate("mlp.gate", experts, dims.hidden, storage=stored),
        *([correction_bias("mlp.gate.expert_bias", experts)] if config.flag("moe_router_enable_expert_bias", default=False) else []),
        *(scope.gated_mlp("mlp.shared_experts", dims.hidden, shared_width, bias=bias) if shared else []),
        scope.experts("mlp.experts", experts, dims.hidden, width),
    ]


def bailing_moe(config: Config, dims: Dims) -> LayerBuilder:
    """Ling and Ring: fused query_key_value, optional norms of q and k (layer norms unless `use_rmsnorm`), shared experts."""
    bias, qkv_bias = config.flag("use_bias", default=False), config.flag("use_qkv_bias", default=False)
    qk_norm, plain_norm = config.flag("use_qk_norm", default=False), config.flag("use_rmsnorm", default=False)

    def build(scope: Scope, index: int) -> Layer:
        fused = scope.qkv("attention.query_key_value", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim, bias=bias or qkv_bias, parts=("query_key_value",))
        norms = [norm(f"attention.{name}_layernorm", dims.head_dim, bias=not plain_norm) for name in ("query", "key") if qk_norm]
        modules = [
            fused,
            scope.row("attention.dense", dims.heads * dims.head_dim, dims.hidden, bias=bias, role=Role.ATTENTION_OUTPUT),
            *(module for pair in norms for module in pair),
            *bailing_mlp(scope, dims, index),
            *two_norms(dims),
        ]
        return Layer(tuple(modules), (full_attention(dims),))

    return build


def param2(config: Config, dims: Dims) -> LayerBuilder:
    """Param2: Ling's layers, whose attention registers the cache's scales and does not replicate key-value heads."""
    inner = bailing_moe(config, dims)

    def build(scope: Scope, index: int) -> Layer:
        layer = inner(scope, index)
        qkv, *others = layer.modules
        if isinstance(qkv, Linear):
            whole = (replace(axis, split=Split.TP) if axis.split is Split.HEADS else axis for axis in qkv.outputs)
            qkv = replace(qkv, outputs=tuple(whole))
        return Layer((qkv, *others, *scope.attention_scales()), layer.attention)

    return build


def step3p5(config: Config, dims: Dims) -> LayerBuilder:
    """Step 3.5: windowed layers have their own number of heads, a gate for each head, a float32 router."""
    types = layer_types(config, dims)
    window = default_window(config, None)
    other = config.section("attention_other_setting")
    heads_of_windows = config.integer("num_sliding_attention_heads", default=other.integer("num_attention_heads", default=dims.heads))
    experts = config.integer("moe_num_experts")
    sparse = _step_layers(config, dims)

    def build(scope: Scope, index: int) -> Layer:
        windowed = _windowed(types, index)
        heads = heads_of_windows if windowed else dims.heads
        modules: list[Module] = [
            scope.qkv("self_attn.qkv_proj", dims.hidden, heads, dims.kv_heads, dims.head_dim, bias=config.flag("attention_bias", default=False)),
            scope.row("self_attn.o_proj", heads * dims.head_dim, dims.hidden, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
            *norm("self_attn.q_norm", dims.head_dim),
            *norm("self_attn.k_norm", dims.head_dim),
        ]
        if config.flag("use_head_wise_attn_gate", default=False):
            modules.append(scope.column("self_attn.g_proj", dims.hidden, (heads,), role=Role.PROJECTION))
        if index in sparse:
            modules += [
                gate("moe.gate", experts, dims.hidden, storage=FP32),
                correction_bias("moe.router_bias", experts),
                *scope.gated_mlp("moe.share_expert", dims.hidden, config.integer("share_expert_dim")),
                scope.experts("moe.experts", experts, dims.hidden, config.integer("moe_intermediate_size")),
            ]
        else:
            modules += scope.gated_mlp("mlp", dims.hidden, dims.intermediate)
        attention: Attention = sliding_window(dims, window) if windowed and window else full_attention(dims)
        return Layer((*modules, *two_norms(dims)), (attention,))

    return build


def step3_text(config: Config, dims: Dims) -> LayerBuilder:
    """Step 3: queries through a narrow shared projection that every rank holds whole, one key-value head."""
    narrow, experts = config.integer("share_q_dim", default=dims.head_dim), config.integer("moe_num_experts")
    heads = replace(dims, kv_heads=1)
    listed = isinstance(config.data.get("moe_layers_enum"), list)
    sparse = set(config.integers("moe_layers_enum")) if listed else _step_layers(config, dims)

    def build(scope: Scope, index: int) -> Layer:
        modules: list[Module] = [
            scope.replicated("self_attn.qkv_proj", dims.hidden, (narrow + 2 * dims.head_dim,), parts=("q_proj", "k_proj", "v_proj"), role=Role.QKV),
            *norm("self_attn.inter_norm", narrow),
            scope.column("self_attn.wq", narrow, (dims.heads * dims.head_dim,), role=Role.QUERY),
            scope.row("self_attn.o_proj", dims.heads * dims.head_dim, dims.hidden, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
        ]
        if index in sparse:
            modules += [
                gate("moe.gate", experts, dims.hidden),
                scope.experts("moe.experts", experts, dims.hidden, config.integer("moe_intermediate_size")),
                *scope.gated_mlp("share_expert", dims.hidden, config.integer("share_expert_dim")),
            ]
        else:
            modules += scope.gated_mlp("mlp", dims.hidden, dims.intermediate)
        return Layer((*modules, *two_norms(dims)), (full_attention(heads),))

    return build


def _step_layers(config: Config, dims: Dims) -> set[int]:
    """The layers with experts, from a list of kinds or from numbers between commas; else all but the first."""
    kinds = config.texts("mlp_layer_types")
    if kinds:
        return {index for index, kind in enumerate(kinds) if kind == _SPARSE}
    listed = config.text("moe_layers_enum", default="").strip()
    if not listed:
        return set(range(1, dims.layers))
    try:
        return {int(part) for part in listed.split(",")}
    except ValueError:
        raise PlannerError(f"{config.path}: moe_layers_enum is {listed[:60]!r}; expected numbers between commas") from None


def deepseek_moe(config: Config, dims: Dims) -> LayerBuilder:
    """The first DeepSeek MoE: plain attention, shared experts."""
    experts, dense = config.integer("n_routed_experts", default=0, low=0), config.integer("first_k_dense_replace", default=0, low=0)
    frequency = config.integer("moe_layer_freq", default=1)

    def build(scope: Scope, index: int) -> Layer:
        routed = bool(experts) and index >= dense and index % frequency == 0
        mlp = routed_or_dense(scope, dims, routed=routed, router=BF16, correction=False)
        return Layer((*attention_modules(scope.unnamed(), dims), *mlp, *two_norms(dims)), (full_attention(dims),))

    return build


def aria(config: Config, dims: Dims) -> LayerBuilder:
    """Aria's text model: Llama with routed experts beside a shared one; the router is no layer of its own (aria.py AriaTextMoELayer)."""
    count, shared = config.integer("moe_num_experts", default=8), config.integer("moe_num_shared_experts", default=2)
    bias = config.flag("attention_bias", default=False)

    def build(scope: Scope, index: int) -> Layer:
        modules = [
            *attention_modules(scope, dims, bias=bias, output_bias=bias),
            plain("mlp.router_weight", count, dims.hidden),
            *scope.gated_mlp("mlp.shared_experts", dims.hidden, dims.intermediate * shared, bias=config.flag("mlp_bias", default=False)),
            scope.experts("mlp.experts", count, dims.hidden, dims.intermediate),
            *two_norms(dims),
        ]
        return Layer(tuple(modules), (full_attention(dims),))

    return build


def ernie_vl(config: Config, dims: Dims) -> LayerBuilder:
    """ERNIE 4.5 VL: one bank of experts for words and one for images beside shared ones, each over its own range of layers (ernie45_vl_moe.py)."""
    counts, widths = config.integers("moe_num_experts", count=2), config.integers("moe_intermediate_size", count=2)
    first, last = config.integers("moe_layer_start_index", count=2), config.integers("moe_layer_end_index", count=2)
    bias, step, shared = (
        config.flag("use_bias", default=False),
        config.integer("moe_layer_interval", default=1),
        config.integer("moe_num_shared_experts", default=0, low=0),
    )

    def bank(scope: Scope, kind: int, name: str, index: int) -> list[Module]:
        if not first[kind] <= index <= last[kind]:
            return scope.gated_mlp("mlp", dims.hidden, dims.intermediate, bias=bias)
        return [
            wide(scope.replicated(f"mlp.{name}_experts_gate", dims.hidden, (counts[kind],), role=Role.ROUTER)),
            scope.experts(f"mlp.{name}_experts", counts[kind], dims.hidden, widths[kind]),
        ]

    def build(scope: Scope, index: int) -> Layer:
        routed = (index + 1) % step == 0 and min(first) <= index <= max(last)
        mlp = [
            correction_bias("mlp.e_score_correction_bias", 2 * counts[0]),
            *(scope.gated_mlp("mlp.shared_experts", dims.hidden, widths[0] * shared) if shared else []),
            *bank(scope, 0, "text", index),
            *bank(scope, 1, "vision", index),
        ]
        dense = scope.gated_mlp("mlp", dims.hidden, dims.intermediate, bias=bias)
        modules = [*attention_modules(scope, dims, bias=bias), *(mlp if routed else dense), *two_norms(dims)]
        return Layer(tuple(modules), (full_attention(dims),))

    return build
