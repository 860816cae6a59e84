"""The numbers every decoder shares, and the plain decoders: Llama, Qwen, Mistral, Granite, Phi, Gemma and their kin.

Each layer is built as vLLM 0.33 builds it (vllm/model_executor/models/<name>.py); the oracle checks byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace

from planner.architecture.blocks import Asked, Scope, norm
from planner.architecture.config import MAX_LENGTH, Config
from planner.errors import PlannerError
from planner.facts.attention import Attention, FullAttention, SlidingWindow
from planner.facts.modules import Axis, Linear, Module, Role, Split
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dims:
    """The dimensions of a text model."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    max_length: int


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer: its parameters and its cache."""

    modules: tuple[Module, ...]
    attention: tuple[Attention, ...]


LayerBuilder = Callable[[Scope, int], Layer]


def read_dims(config: Config, *, attends: bool = True) -> Dims:
    """Read the dimensions that every Hugging Face text config carries; a model that does not attend has no heads."""
    heads = config.integer("num_attention_heads", high=65_536) if attends else 0
    hidden = config.integer("hidden_size", high=1_000_000)
    kv_heads = config.integer("num_key_value_heads", default=heads, high=65_536) if attends else 0
    return Dims(
        hidden=hidden,
        layers=config.integer("num_hidden_layers", default=len(config.items("layers_block_type")) or None, high=2_000),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=config.integer("head_dim", default=max(1, hidden // max(1, heads)), high=65_536),
        intermediate=config.integer("intermediate_size", default=1),
        vocab=config.integer("vocab_size"),
        max_length=config.integer("max_position_embeddings", default=8192, high=MAX_LENGTH),
    )


def full_attention(dims: Dims, *, sinks: bool = False) -> FullAttention:
    """Full attention with the model's own heads."""
    return FullAttention(kv_heads=dims.kv_heads, head_dim=dims.head_dim, head_dim_v=dims.head_dim, sinks=sinks)


def sliding_window(dims: Dims, window: int, *, sinks: bool = False) -> SlidingWindow:
    """Sliding-window attention with the model's own heads."""
    return SlidingWindow(kv_heads=dims.kv_heads, head_dim=dims.head_dim, head_dim_v=dims.head_dim, window=window, sinks=sinks)


def layer_types(config: Config, dims: Dims, every: int = 0) -> list[str]:
    """The kind of each layer: the explicit `layer_types`, or every n-th layer full and the others windowed; empty where neither is known."""
    types = config.texts("layer_types")
    if types and len(types) < dims.layers:
        raise PlannerError(f"{config.path}: layer_types has {len(types)} entries for {dims.layers} layers")
    if not types and every:
        step = config.integer("sliding_window_pattern", default=every)
        return ["full_attention" if (index + 1) % step == 0 else "sliding_attention" for index in range(dims.layers)]
    return types[: dims.layers]


def qk_norms(dims: Dims) -> list[Module]:
    """Per-head norms of queries and keys."""
    return [*norm("self_attn.q_norm", dims.head_dim), *norm("self_attn.k_norm", dims.head_dim)]


def two_norms(dims: Dims) -> list[Module]:
    """The norms before attention and before the MLP."""
    return [*norm("input_layernorm", dims.hidden), *norm("post_attention_layernorm", dims.hidden)]


def attention_modules(
    scope: Scope,
    dims: Dims,
    *,
    bias: bool = False,
    output_bias: bool = False,
    qk_norm: bool = False,
    gate: bool = False,
) -> list[Module]:
    """qkv_proj, o_proj, the optional norms and the cache scales of one attention layer."""
    modules: list[Module] = [
        scope.qkv("self_attn.qkv_proj", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim, bias=bias, gate=gate),
        scope.row("self_attn.o_proj", dims.heads * dims.head_dim, dims.hidden, bias=output_bias, role=Role.ATTENTION_OUTPUT),
        *scope.attention_scales(),
    ]
    return modules + (qk_norms(dims) if qk_norm else [])


def default_window(config: Config, default: int | None) -> int | None:
    """The sliding window of every layer: the config's, or the default of its Hugging Face class where the key is absent."""
    if "sliding_window" in config.data:
        return config.optional("sliding_window")
    return default


def alike(build: LayerBuilder, kind: Callable[[int], Hashable]) -> LayerBuilder:
    """The same layers, those of a kind built once as long as the checkpoint stores them alike."""
    made: dict[Hashable, list[tuple[Layer, list[Asked]]]] = {}

    def build_once(scope: Scope, index: int) -> Layer:
        known = made.setdefault(kind(index), [])
        for layer, asked in known:
            if scope.answers(asked):
                return layer
        asked = []
        layer = build(replace(scope, asked=asked), index)
        known.append((layer, asked))
        return layer

    return build_once


def unnamed(family: Callable[[Config, Dims], LayerBuilder]) -> Callable[[Config, Dims], LayerBuilder]:
    """The same of a class that gives its layers no names (molmo2.py)."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        build = family(config, dims)
        return lambda scope, index: build(scope.unnamed(), index)

    return bind


def llama(
    *,
    bias: bool = False,
    output_bias: bool | None = None,
    qk_norm: bool = False,
    window: int | None = None,
    every: int = 0,
    more_norms: tuple[str, ...] = (),
) -> Callable[[Config, Dims], LayerBuilder]:
    """Llama and its relatives; arguments are the defaults of the Hugging Face class. `output_bias` None: as the attention's."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        every_bias = config.either("attention_bias", "bias", default=bias)
        attention_bias = config.flag("qkv_bias", default=every_bias)  # InternLM3: only q, k and v (llama.py LlamaDecoderLayer)
        out_bias = config.flag("attention_out_bias", default=every_bias if output_bias is None else output_bias)
        has_mlp_bias = config.flag("mlp_bias", default=False)
        # transformers' MistralConfig defaults to a window of 4096; ministral3 and the others have none
        length = default_window(config, window if config.text("model_type", default="mistral") == "mistral" else None)
        if config.has("use_sliding_window"):
            length = length if config.flag("use_sliding_window") else None
        types = layer_types(config, dims, every if length else 0)

        def is_windowed(index: int) -> bool:
            return length is not None and (not types or types[index] == "sliding_attention")

        def build(scope: Scope, index: int) -> Layer:
            attention: Attention = sliding_window(dims, length) if is_windowed(index) and length else full_attention(dims)
            modules = [
                *attention_modules(scope, dims, bias=attention_bias, output_bias=out_bias, qk_norm=qk_norm),
                *scope.gated_mlp("mlp", dims.hidden, dims.intermediate, bias=has_mlp_bias),
                *two_norms(dims),
                *(module for name in more_norms for module in norm(name, dims.hidden)),
            ]
            return Layer(tuple(modules), (attention,))

        return alike(build, is_windowed)

    return bind


def without_cache(layers: Callable[[Config, Dims], LayerBuilder]) -> Callable[[Config, Dims], LayerBuilder]:
    """The same layers where every token sees all others: nothing is kept of a sequence."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        build = layers(config, dims)
        return lambda scope, index: replace(build(scope, index), attention=())

    return bind


def joined(layers: Callable[[Config, Dims], LayerBuilder], name: str) -> Callable[[Config, Dims], LayerBuilder]:
    """The same layers, where that matrix is one in the class too, not the fused parts of one."""

    def one(module: Module) -> Module:
        if not isinstance(module, Linear) or not module.name.endswith(name):
            return module
        return replace(module, outputs=(Axis(sum(axis.size for axis in module.outputs), Split.TP),))

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        build = layers(config, dims)

        def built(scope: Scope, index: int) -> Layer:
            layer = build(scope, index)
            return replace(layer, modules=tuple(map(one, layer.modules)))

        return built

    return bind


def unquantized(layers: Callable[[Config, Dims], LayerBuilder]) -> Callable[[Config, Dims], LayerBuilder]:
    """The same layers, built without the quantization."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        build = layers(config, dims)
        return lambda scope, index: build(scope.plain(), index)

    return bind


def hyperclova(config: Config, dims: Dims) -> LayerBuilder:
    """HyperCLOVA X: Llama, with a norm behind each block where `use_post_norm` says so."""
    behind = ("post_norm1", "post_norm2") if config.flag("use_post_norm", default=False) else ()
    return llama(more_norms=behind)(config, dims)


def chatglm(config: Config, dims: Dims) -> LayerBuilder:
    """ChatGLM and GLM-4 before Hugging Face's class: fused query_key_value with few key-value heads, biases by two flags."""
    bias, qkv_bias = config.flag("add_bias_linear", default=False), config.flag("add_qkv_bias", default=False)
    norm_bias = not config.flag("rmsnorm", default=True)
    fused = dims if config.flag("multi_query_attention", default=False) else replace(dims, kv_heads=dims.heads)

    def build(scope: Scope, index: int) -> Layer:
        at = "self_attention"
        modules = [
            scope.qkv(f"{at}.query_key_value", dims.hidden, dims.heads, fused.kv_heads, dims.head_dim, bias=bias or qkv_bias, parts=("query_key_value",)),
            scope.row(f"{at}.dense", dims.heads * dims.head_dim, dims.hidden, bias=bias, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
            scope.column("mlp.dense_h_to_4h", dims.hidden, (dims.intermediate, dims.intermediate), bias=bias, parts=("dense_h_to_4h",), role=Role.GATE_UP),
            scope.row("mlp.dense_4h_to_h", dims.intermediate, dims.hidden, bias=bias, role=Role.DOWN),
            *norm("input_layernorm", dims.hidden, bias=norm_bias),
            *norm("post_attention_layernorm", dims.hidden, bias=norm_bias),
        ]
        return Layer(tuple(modules), (full_attention(fused),))

    return build


def cohere(config: Config, dims: Dims) -> LayerBuilder:
    """Command R and A: attention and MLP side by side behind one norm; norms of q and k have a weight for each head."""
    qk_norm = config.flag("use_qk_norm", default=False)
    window = config.optional("sliding_window")
    types = layer_types(config, dims, every=4 if window else 0)

    def build(scope: Scope, index: int) -> Layer:
        norms = [
            *norm("self_attn.q_norm", dims.heads * dims.head_dim, split=Split.TP),
            *norm("self_attn.k_norm", dims.kv_heads * dims.head_dim, split=Split.HEADS, units=dims.kv_heads),
        ]
        modules = [
            *attention_modules(scope, dims),
            *(norms if qk_norm else []),
            *scope.gated_mlp("mlp", dims.hidden, dims.intermediate),
            *norm("input_layernorm", dims.hidden),
        ]
        windowed = window and types[index] == "sliding_attention"
        # one more than the config says: a token sees `sliding_window` tokens before itself (commandr.py:237)
        return Layer(tuple(modules), (sliding_window(dims, window + 1) if windowed and window else full_attention(dims),))

    return build


def phi3(config: Config, dims: Dims) -> LayerBuilder:
    """Phi-3 and Phi-4: the checkpoint already stores qkv and gate_up fused."""
    bias, mlp_bias = config.either("attention_bias", "bias"), config.flag("mlp_bias", default=False)

    def build(scope: Scope, index: int) -> Layer:
        window = default_window(config, None)
        modules = [
            scope.qkv(
                "self_attn.qkv_proj", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim, bias=config.flag("qkv_bias", default=bias), parts=("qkv_proj",)
            ),
            scope.row("self_attn.o_proj", dims.heads * dims.head_dim, dims.hidden, bias=bias, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
            scope.column("mlp.gate_up_proj", dims.hidden, (dims.intermediate, dims.intermediate), bias=mlp_bias, parts=("gate_up_proj",), role=Role.GATE_UP),
            scope.row("mlp.down_proj", dims.intermediate, dims.hidden, bias=mlp_bias, role=Role.DOWN),
            *two_norms(dims),
        ]
        return Layer(tuple(modules), (sliding_window(dims, window) if window else full_attention(dims),))

    return build


def gemma(*, qk_norm: bool, every: int, window: int) -> Callable[[Config, Dims], LayerBuilder]:
    """Gemma 2 and 3: four norms a layer, sliding windows with every n-th layer full."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        types = layer_types(config, dims, every)
        length = config.integer("sliding_window", default=window)
        bias = config.flag("attention_bias", default=False)
        encoder = qk_norm and config.data.get("use_bidirectional_attention") is True  # EmbeddingGemma keeps no cache (gemma3.py:165)

        def build(scope: Scope, index: int) -> Layer:
            windowed = types[index] == "sliding_attention"
            modules = [
                *attention_modules(scope, dims, bias=bias, output_bias=bias, qk_norm=qk_norm),
                *scope.gated_mlp("mlp", dims.hidden, dims.intermediate),
                *two_norms(dims),
                *norm("pre_feedforward_layernorm", dims.hidden),
                *norm("post_feedforward_layernorm", dims.hidden),
            ]
            attention = sliding_window(dims, length) if windowed else full_attention(dims)
            return Layer(tuple(modules), () if encoder else (attention,))

        return build

    return bind
