"""Dense decoders whose attention or layers are their own: Nemotron Super (each layer its own shape), MiniCPM3, Falcon, Domyn Edge; Flint.

Source: vllm/model_executor/models/{nemotron_nas,minicpm3,falcon,domyn_edge}.py, models/flint, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, gate, norm, plain
from planner.architecture.config import Config
from planner.architecture.text import Dims, Layer, LayerBuilder, attention_modules, full_attention, layer_types, llama, sliding_window, two_norms
from planner.errors import PlannerError
from planner.facts.attention import FullAttention
from planner.facts.modules import Axis, Module, Role, Split, Tensor, TensorRole
from planner.units import round_up


def nemotron_nas(config: Config, dims: Dims) -> LayerBuilder:
    """Nemotron Super and Ultra (DeciLM): a search gave each layer its own key-value heads and MLP width, or neither."""
    blocks = [Config(block, config.path) for block in config.items("block_configs") if isinstance(block, dict)]
    if len(blocks) < dims.layers:
        raise PlannerError(f"{config.path}: block_configs has {len(blocks)} entries for {dims.layers} layers")
    bias = config.either("attention_bias", "bias")

    def width(mlp: Config) -> int:
        if mlp.has("ffn_mult"):
            return round_up(max(1, int(2 * mlp.number("ffn_mult") * dims.hidden / 3)), 256)
        return mlp.integer("intermediate_size")

    def build(scope: Scope, index: int) -> Layer:
        attention, mlp = blocks[index].section("attention"), blocks[index].section("ffn")
        modules: list[Module] = []
        caches: tuple[FullAttention, ...] = ()
        if not attention.flag("no_op", default=False):
            shared = attention.integer("n_heads_in_group")
            kv_heads = max(1, dims.heads // shared)
            modules += [
                scope.qkv("self_attn.qkv_proj", dims.hidden, dims.heads, kv_heads, dims.head_dim, bias=config.flag("qkv_bias", default=bias)),
                scope.row("self_attn.o_proj", dims.heads * dims.head_dim, dims.hidden, bias=bias, role=Role.ATTENTION_OUTPUT),
                *scope.attention_scales(),
                *norm("input_layernorm", dims.hidden),
            ]
            caches = (FullAttention(kv_heads=kv_heads, head_dim=dims.head_dim, head_dim_v=dims.head_dim),)
        if not mlp.flag("no_op", default=False):
            modules += scope.gated_mlp("mlp", dims.hidden, width(mlp), bias=config.flag("mlp_bias", default=False))
            modules += norm("post_attention_layernorm", dims.hidden)
        return Layer(tuple(modules), caches)

    return build


def minicpm3(config: Config, dims: Dims) -> LayerBuilder:
    """MiniCPM3: projections through a latent as in MLA, but keys and values are cached whole, one pair a head."""
    rank, latent = config.integer("q_lora_rank"), config.integer("kv_lora_rank")
    nope, rope, value = config.integer("qk_nope_head_dim"), config.integer("qk_rope_head_dim"), config.integer("v_head_dim")

    def build(scope: Scope, index: int) -> Layer:
        modules = [
            scope.unnamed().replicated("self_attn.q_a_proj", dims.hidden, (rank,), role=Role.LATENT),
            *norm("self_attn.q_a_layernorm", rank),
            scope.column("self_attn.q_b_proj", rank, (dims.heads * (nope + rope),), role=Role.LATENT),
            scope.replicated("self_attn.kv_a_proj_with_mqa", dims.hidden, (latent + rope,), role=Role.LATENT),
            *norm("self_attn.kv_a_layernorm", latent),
            scope.column("self_attn.kv_b_proj", latent, (dims.heads * (nope + value),), role=Role.LATENT),
            scope.row("self_attn.o_proj", dims.heads * value, dims.hidden, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
            *scope.gated_mlp("mlp", dims.hidden, dims.intermediate),
            *two_norms(dims),
        ]
        return Layer(tuple(modules), (FullAttention(kv_heads=dims.heads, head_dim=nope + rope, head_dim_v=nope + rope),))

    return build


def falcon(config: Config, dims: Dims) -> LayerBuilder:
    """Falcon 1 and 2: one key-value head, or several in the new architecture; one or two layer norms beside attention."""
    new, parallel = config.flag("new_decoder_architecture", default=False), config.flag("parallel_attn", default=True)
    bias = config.flag("bias", default=False)
    kv_heads = dims.kv_heads if new else 1 if config.flag("multi_query", default=True) else dims.heads
    if not parallel:
        norms = ["post_attention_layernorm", "input_layernorm"]
    else:
        norms = ["ln_attn", "ln_mlp"] if config.integer("num_ln_in_parallel_attn", default=2 if new else 1) == 2 else ["input_layernorm"]
    width = config.integer("ffn_hidden_size", default=4 * dims.hidden)

    def build(scope: Scope, index: int) -> Layer:
        modules = [
            scope.qkv("self_attention.query_key_value", dims.hidden, dims.heads, kv_heads, dims.head_dim, bias=bias, parts=("query_key_value",)),
            scope.row("self_attention.dense", dims.hidden, dims.hidden, bias=bias, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
            *scope.plain_mlp("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", dims.hidden, width, bias=bias),
            *(module for name in norms for module in norm(name, dims.hidden, bias=True)),
        ]
        return Layer(tuple(modules), (FullAttention(kv_heads=kv_heads, head_dim=dims.head_dim, head_dim_v=dims.head_dim),))

    return build


def plamo_head(scope: Scope, dims: Dims) -> list[Module]:
    """PLaMo's output head, padded to twice as many words as its embedding; none where it is that one."""
    return [] if scope.config.flag("tie_word_embeddings", default=False) else [scope.plain().head(round_up(dims.vocab, 128), dims.hidden)]


def loop_coder(config: Config, dims: Dims) -> LayerBuilder:
    """IQuest LoopCoder: Llama's layers run several times; each further run keeps a short window of its own and weighs it by a gate."""
    inner = llama()(config, dims)
    loops, window = config.integer("loop_num", default=2, high=64), config.integer("loop_window_size", default=64)
    windows = (sliding_window(dims, window),) * (loops - 1)

    def build(scope: Scope, index: int) -> Layer:
        layer = inner(scope, index)
        gate = scope.column("gate_projections.gate_proj", dims.head_dim, (dims.heads,), bias=True, role=Role.PROJECTION)
        scales = scope.attention_scales() * (loops - 1)
        return Layer((*layer.modules, gate, *scales), (*layer.attention, *windows))

    return build


def hrm(config: Config, dims: Dims) -> LayerBuilder:
    """HRM: two stacks of layers without norm weights, run in cycles; each run of a layer keeps a cache of its own."""
    low, high = config.integer("L_cycles", default=1), config.integer("H_cycles", default=1)
    per_stack, width = config.integer("num_layers_per_stack"), dims.heads * dims.head_dim
    bias = config.flag("attention_bias", default=False)
    cache = FullAttention(kv_heads=dims.heads, head_dim=dims.head_dim, head_dim_v=dims.head_dim)

    def build(scope: Scope, index: int) -> Layer:
        modules: list[Module] = [
            scope.column("self_attn.gqkv_proj", dims.hidden, (width,) * 4, bias=bias, role=Role.QKV),
            scope.row("self_attn.o_proj", width, dims.hidden, bias=bias, role=Role.ATTENTION_OUTPUT),
            *scope.gated_mlp("mlp", dims.hidden, dims.intermediate, bias=config.flag("mlp_bias", default=False)),
        ]
        runs = low * high if index < per_stack else high
        return Layer((*modules, *scope.attention_scales() * runs), (cache,) * runs)

    return build


def hrm_stacks(config: Config) -> Config:
    """A file of before its class kept the layers of a stack apart: num_hidden_layers are they (HrmTextConfig.__post_init__)."""
    if config.has("num_layers_per_stack"):
        return config
    return Config({**config.data, "num_layers_per_stack": config.integer("num_hidden_layers", high=1000)}, config.path)


def hrm_layers(config: Config) -> int:
    """The layers of both stacks."""
    return 2 * config.integer("num_layers_per_stack", high=1000)


def hrm_start(scope: Scope, dims: Dims) -> list[Module]:
    """What the low stack starts from."""
    return [plain("z_L_init", dims.hidden)]


def domyn_edge(config: Config, dims: Dims) -> LayerBuilder:
    """Domyn Edge: four norms, keys normed with weights and queries without, a window of its own for each layer (domyn_edge.py)."""
    sizes = [pair[0] if isinstance(pair, list) and pair and isinstance(pair[0], int) else 0 for pair in config.items("window_sizes")]

    def build(scope: Scope, index: int) -> Layer:
        window = sizes[index] if index < len(sizes) else 0
        norms = ("pre_attention_norm", "post_attention_norm", "pre_feedforward_norm", "post_feedforward_norm")
        modules = [
            *attention_modules(scope, dims),
            *norm("self_attn.k_norm", dims.head_dim),
            *scope.gated_mlp("feedforward", dims.hidden, dims.intermediate),
            *(module for name in norms for module in norm(name, dims.hidden)),
        ]
        return Layer(tuple(modules), (sliding_window(dims, window + 1) if window > 0 else full_attention(dims),))

    return build


def flint(config: Config, dims: Dims) -> LayerBuilder:
    """Flint: windows and full layers with sinks in 32 bits, experts beside a shared one but in the layers that it names (models/flint/model.py)."""
    types, dense = layer_types(config, dims), set(config.integers("mlp_only_layers"))
    bias = config.flag("attention_bias", default=False)
    window = config.integer("sliding_window", default=513) if config.flag("use_sliding_window", default=True) else 0
    experts, width = config.integer("num_experts", default=256), config.integer("moe_intermediate_size", default=512)

    def mlp(scope: Scope, index: int) -> list[Module]:
        if index in dense:
            return scope.gated_mlp("mlp", dims.hidden, dims.intermediate)
        shared = config.integer("shared_expert_intermediate_size", default=1024)
        bank = scope.experts("mlp.experts", experts, dims.hidden, width)
        return [gate("mlp.gate", experts, dims.hidden), *scope.gated_mlp("mlp.shared_expert", dims.hidden, shared), bank]

    def build(scope: Scope, index: int) -> Layer:
        windowed = bool(types) and types[index] == "sliding_attention" and window
        sinks = Tensor(name="self_attn.softmax_offset", axes=(Axis(dims.heads, Split.TP),), bits=32, role=TensorRole.ADDEND)
        modules = [*attention_modules(scope, dims, bias=bias, qk_norm=True), sinks, *mlp(scope, index), *two_norms(dims)]
        return Layer(tuple(modules), (sliding_window(dims, window, sinks=True) if windowed else full_attention(dims, sinks=True),))

    return build
