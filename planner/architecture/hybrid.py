"""Decoders that mix attention with recurrent layers.

Qwen3-Next and Qwen3.5 (gated delta net), Nemotron-H, Granite 4 and Falcon-H1 (Mamba2), LFM2 (short convolutions).

State shapes: vllm/model_executor/layers/mamba/mamba_utils.py (MambaStateShapeCalculator), 0.33.
"""

from __future__ import annotations

from collections.abc import Callable

from planner.architecture.blocks import Scope, correction_bias, gate, norm
from planner.architecture.config import Config
from planner.architecture.moe import qwen_moe_mlp
from planner.architecture.text import Dims, Layer, LayerBuilder, attention_modules, full_attention, layer_types, two_norms
from planner.errors import PlannerError
from planner.facts.attention import RecurrentState
from planner.facts.modules import Axis, Linear, Module, Role, Split, Tensor, TensorRole
from planner.facts.storage import ROUTER
from planner.units import round_up

_DTYPE_BITS = {"float32": 32, "bfloat16": 16, "float16": 16, "auto": 16}


def state_bits(config: Config, default: str) -> int:
    """Bits of the recurrent state, from `mamba_ssm_dtype` or `mamba_ssm_cache_dtype`."""
    name = config.text("mamba_ssm_dtype", "mamba_ssm_cache_dtype", default=default)
    if name not in _DTYPE_BITS:
        raise PlannerError(f"{config.path}: mamba_ssm_dtype is {name!r}; expected one of {', '.join(_DTYPE_BITS)}")
    return _DTYPE_BITS[name]


def states_as_model(config: Config) -> Config:
    """States in the model's own width, whatever the config says: vLLM reads it for the classes of models/config.py alone."""
    return Config({**config.data, "mamba_ssm_dtype": "auto"}, config.path)


# methods whose kernels take no projection as narrow as a rank's share of b and a: Qwen3.5's is then whole on every rank
# (gdn/qwen_gdn_linear_attn.py maybe_disable_tp)
_WHOLE_BA = ("auto_awq", "auto_gptq", "inc")


def qwen_next(config: Config, dims: Dims) -> LayerBuilder:
    """Qwen3-Next: three gated delta net layers, then one gated full attention layer; the checkpoint has q, k, v, z and b, a fused."""
    return _delta_hybrid(config, dims, interleaved=True)


def qwen35(config: Config, dims: Dims) -> LayerBuilder:
    """Qwen3.5 to 3.8: the same with projections of their own."""
    return _delta_hybrid(config, dims, interleaved=False)


DeltaNet = Callable[[Scope], list[Module]]


def gated_delta_net(config: Config, dims: Dims, *, interleaved: bool) -> tuple[DeltaNet, RecurrentState]:
    """What builds one gated delta net, and its state; `interleaved`: the checkpoint has q, k, v, z and b, a fused."""
    key_heads, value_heads = config.integer("linear_num_key_heads"), config.integer("linear_num_value_heads")
    key_dim, value_dim = config.integer("linear_key_head_dim"), config.integer("linear_value_head_dim")
    kernel = config.integer("linear_conv_kernel_dim", default=4)
    keys, values = key_heads * key_dim, value_heads * value_dim
    convolution = Axis(2 * keys + values, Split.TP)
    state = RecurrentState(
        tensors=(
            Tensor(name="conv", axes=(Axis(kernel - 1), convolution)),
            Tensor(name="ssm", axes=(Axis(value_heads, Split.TP), Axis(value_dim), Axis(key_dim)), bits=state_bits(config, "auto")),
        ),
        checkpoint_alignment=64,  # the delta rule's chunk, on Hopper and Blackwell (gdn/qwen_gdn_linear_attn.py:748)
    )

    def narrow(scope: Scope) -> Linear:
        split = Split.WHOLE if not interleaved and scope.quantization.name in _WHOLE_BA else Split.TP
        outputs = [Axis(2 * value_heads, split)] if interleaved else [Axis(value_heads, split)] * 2
        parts = ("in_proj_ba",) if interleaved else ("in_proj_b", "in_proj_a")
        return scope.linear("linear_attn.in_proj_ba", Axis(dims.hidden), outputs, parts=parts, role=Role.MIXER)

    def build(scope: Scope) -> list[Module]:
        fused = scope.linear(
            "linear_attn.in_proj_qkvz",
            Axis(dims.hidden),
            [Axis(size, Split.TP) for size in ((2 * keys + 2 * values,) if interleaved else (keys, keys, values, values))],
            parts=("in_proj_qkvz",) if interleaved else ("in_proj_qkv", "in_proj_z"),
            role=Role.DELTA,
        )
        return [
            Tensor(name="linear_attn.dt_bias", axes=(Axis(value_heads, Split.TP),), role=TensorRole.ADDEND),
            Tensor(name="linear_attn.A_log", axes=(Axis(value_heads, Split.TP),), bits=32),
            Tensor(name="linear_attn.conv1d", axes=(convolution, Axis(kernel))),
            fused,
            narrow(scope),
            *norm("linear_attn.norm", value_dim),
            scope.row("linear_attn.out_proj", values, dims.hidden, role=Role.MIXER),
        ]

    return build, state


def _delta_hybrid(config: Config, dims: Dims, *, interleaved: bool) -> LayerBuilder:
    types, interval = layer_types(config, dims), config.integer("full_attention_interval", default=4)
    delta_net, state = gated_delta_net(config, dims, interleaved=interleaved)

    def build(scope: Scope, index: int) -> Layer:
        full = types[index] == "full_attention" if types else (index + 1) % interval == 0
        mixer = attention_modules(scope, dims, qk_norm=True, gate=True) if full else delta_net(scope)
        modules = [*mixer, *qwen_moe_mlp(scope, config, dims, index), *two_norms(dims)]
        return Layer(tuple(modules), (full_attention(dims),) if full else (state,))

    return build


def mamba2(
    scope: Scope,
    name: str,
    dims: Dims,
    *,
    heads: int,
    head_dim: int,
    groups: int,
    state: int,
    kernel: int,
    bias: bool,
    ssm_bits: int,
    conv_bias: bool = True,
    normed: bool = True,
) -> tuple[list[Module], RecurrentState]:
    """One Mamba2 mixer and its state; a single group is replicated, several must be divided (mamba_mixer2.py)."""
    width = heads * head_dim
    inner = Axis(width, Split.TP)
    shared = Axis(groups * state, Split.GROUPS, groups)
    conv = (inner, shared, shared)
    modules: list[Module] = [
        Tensor(name=f"{name}.A", axes=(Axis(heads, Split.TP),), bits=32),
        Tensor(name=f"{name}.D", axes=(Axis(heads, Split.TP),)),
        Tensor(name=f"{name}.dt_bias", axes=(Axis(heads, Split.TP),), role=TensorRole.ADDEND),
        *(Tensor(name=f"{name}.conv1d", axes=(axis, Axis(kernel))) for axis in conv),
        scope.linear(f"{name}.in_proj", Axis(dims.hidden), (inner, *conv, Axis(heads, Split.TP)), bias=bias, parts=("in_proj",), role=Role.MIXER),
        scope.row(f"{name}.out_proj", width, dims.hidden, bias=bias, role=Role.MIXER),
        *(norm(f"{name}.norm", width, split=Split.TP) if normed else []),
    ]
    modules.extend(Tensor(name=f"{name}.conv1d.bias", axes=(axis,), role=TensorRole.ADDEND) for axis in conv if conv_bias)
    tensors = [Tensor(name="conv", axes=(Axis(kernel - 1), axis)) for axis in conv]
    tensors.append(Tensor(name="ssm", axes=(Axis(heads, Split.TP), Axis(head_dim), Axis(state)), bits=ssm_bits))
    return modules, RecurrentState(tensors=tuple(tensors))


def nemotron_h(config: Config, dims: Dims) -> LayerBuilder:
    """Nemotron-H and Nemotron 3: one mixer a layer, by letter: M Mamba2, * attention, - MLP, E experts."""
    letters = {"mamba": "M", "attention": "*", "mlp": "-", "moe": "E"}
    named = "".join(letters.get(name, "?") for name in config.texts("layers_block_type"))
    pattern = named or config.text("hybrid_override_pattern")
    if len(pattern) < dims.layers:
        raise PlannerError(f"{config.path}: hybrid_override_pattern has {len(pattern)} letters for {dims.layers} layers")
    heads = config.integer("mamba_num_heads")

    def build(scope: Scope, index: int) -> Layer:
        modules: list[Module] = norm("norm", dims.hidden)
        match pattern[index]:
            case "M":
                mixer, state = mamba2(
                    scope,
                    "mixer",
                    dims,
                    heads=heads,
                    head_dim=config.integer("mamba_head_dim"),
                    groups=config.integer("n_groups"),
                    state=config.integer("ssm_state_size"),
                    kernel=config.integer("conv_kernel", default=4),
                    bias=config.flag("use_bias", "mamba_proj_bias", default=False),
                    ssm_bits=state_bits(config, "float32"),
                )
                return Layer((*modules, *mixer), (state,))
            case "*":
                modules += [
                    scope.qkv("mixer.qkv_proj", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim),
                    scope.row("mixer.o_proj", dims.heads * dims.head_dim, dims.hidden, role=Role.ATTENTION_OUTPUT),
                    *scope.attention_scales(),
                ]
                return Layer(tuple(modules), (full_attention(dims),))
            case "-":
                modules += scope.plain_mlp("mixer.up_proj", "mixer.down_proj", dims.hidden, dims.intermediate)
                return Layer(tuple(modules), ())
            case "E":
                return Layer((*modules, *_nemotron_experts(scope, config, dims)), ())
            case letter:
                raise PlannerError(f"{config.path}: hybrid_override_pattern has the unknown letter {letter!r}", "known: M * - E")

    return build


def _nemotron_experts(scope: Scope, config: Config, dims: Dims) -> list[Module]:
    experts, intermediate = config.integer("n_routed_experts"), config.integer("moe_intermediate_size")
    latent = config.integer("moe_latent_size", default=0, low=0)
    shared = config.integer("moe_shared_expert_intermediate_size", default=0, low=0) * config.integer("n_shared_experts", default=0, low=0)
    modules: list[Module] = [gate("mixer.gate", experts, dims.hidden, storage=ROUTER), correction_bias("mixer.gate.e_score_correction_bias", experts)]
    if shared:
        modules += scope.plain_mlp("mixer.shared_experts.up_proj", "mixer.shared_experts.down_proj", dims.hidden, shared)
    if latent:
        modules += [
            scope.replicated("mixer.fc1_latent_proj", dims.hidden, (latent,), role=Role.PROJECTION),
            scope.replicated("mixer.fc2_latent_proj", latent, (dims.hidden,), role=Role.PROJECTION),
        ]
    modules.append(scope.experts("mixer.experts", experts, latent or dims.hidden, intermediate, shards=1))
    return modules


def granite_hybrid(config: Config, dims: Dims) -> LayerBuilder:
    """Granite 4: Mamba2 or attention, then experts (where there are any) and a shared MLP."""
    types = layer_types(config, dims)
    experts, bias = config.integer("num_local_experts", default=0, low=0), config.flag("attention_bias", default=False)

    def build(scope: Scope, index: int) -> Layer:
        modules: list[Module] = []
        attentive = not types or types[index] == "attention"
        if attentive:
            modules += attention_modules(scope, dims, bias=bias, output_bias=bias)
            caches: Layer = Layer((), (full_attention(dims),))
        else:
            heads = config.integer("mamba_n_heads")
            expand = config.integer("mamba_expand", default=2)
            mixer, state = mamba2(
                scope,
                "mamba",
                dims,
                heads=heads,
                head_dim=config.integer("mamba_d_head", default=max(1, expand * dims.hidden // heads)),
                groups=config.integer("mamba_n_groups", default=1),
                state=config.integer("mamba_d_state"),
                kernel=config.integer("mamba_d_conv", default=4),
                bias=config.flag("mamba_proj_bias", default=False),
                ssm_bits=state_bits(config, "auto"),
            )
            modules += mixer
            caches = Layer((), (state,))
        if experts:
            modules += [
                gate("block_sparse_moe.gate", experts, dims.hidden),
                scope.experts("block_sparse_moe.experts", experts, dims.hidden, dims.intermediate),
            ]
        shared = config.integer("shared_intermediate_size", default=0, low=0)
        if shared:
            modules += [
                scope.column("shared_mlp.input_linear", dims.hidden, (shared, shared), parts=("input_linear",), role=Role.GATE_UP),
                scope.row("shared_mlp.output_linear", shared, dims.hidden, role=Role.DOWN),
            ]
        modules += two_norms(dims)
        return Layer(tuple(modules), caches.attention)

    return build


def falcon_h1(config: Config, dims: Dims) -> LayerBuilder:
    """Falcon-H1: attention and Mamba2 side by side in every layer."""
    head_dim = config.integer("mamba_d_head", default=64)
    width = config.integer("mamba_d_ssm", default=config.integer("mamba_expand", default=2) * dims.hidden)
    heads = config.integer("mamba_n_heads", default=max(1, width // head_dim))

    def build(scope: Scope, index: int) -> Layer:
        mixer, state = mamba2(
            scope,
            "mamba",
            dims,
            heads=heads,
            head_dim=head_dim,
            groups=config.integer("mamba_n_groups", default=1),
            state=config.integer("mamba_d_state", default=256),
            kernel=config.integer("mamba_d_conv", default=4),
            bias=config.flag("mamba_proj_bias", default=False),
            ssm_bits=state_bits(config, "auto"),
            conv_bias=config.flag("mamba_conv_bias", default=True),
            normed=config.flag("mamba_rms_norm", default=False),
        )
        modules = [
            *attention_modules(scope, dims),
            *mixer,
            *scope.gated_mlp("feed_forward", dims.hidden, dims.intermediate),
            *two_norms(dims),
        ]
        return Layer(tuple(modules), (full_attention(dims), state))

    return build


def lfm2_width(config: Config, dims: Dims) -> int:
    """The MLP's width: two thirds of what the config says, rounded up (vllm lfm2.py Lfm2MLP)."""
    width = config.integer("block_ff_dim", "intermediate_size")
    if not config.flag("block_auto_adjust_ff_dim", default=False):
        return width
    scaled = int(config.number("block_ffn_dim_multiplier", default=1.0) * (2 * width // 3))
    return round_up(scaled, config.integer("block_multiple_of", default=256))


def lfm2(config: Config, dims: Dims) -> LayerBuilder:
    """LFM2: short convolutions, attention in some layers; in the larger models experts after the first layers."""
    kernel, bias = config.integer("conv_L_cache", default=3, low=2), config.flag("conv_bias", default=False)
    full = config.integers("full_attn_idxs")
    types = layer_types(config, dims) or ["full_attention" if index in full else "conv" for index in range(dims.layers)]
    experts, dense = config.integer("num_experts", default=0, low=0), config.integer("num_dense_layers", default=0, low=0)
    state = RecurrentState(tensors=(Tensor(name="conv", axes=(Axis(kernel - 1), Axis(dims.hidden, Split.TP))),), checkpoint_alignment=0)

    def mixer(scope: Scope, attentive: bool) -> list[Module]:
        if attentive:
            return attention_modules(scope, dims, qk_norm=True)
        hidden = Axis(dims.hidden, Split.TP)
        return [
            Tensor(name="short_conv.conv", axes=(hidden, Axis(kernel))),
            *([Tensor(name="short_conv.conv.bias", axes=(hidden,), role=TensorRole.ADDEND)] if bias else []),
            scope.column("short_conv.in_proj", dims.hidden, (dims.hidden,) * 3, bias=bias, parts=("in_proj",), role=Role.MIXER),
            scope.row("short_conv.out_proj", dims.hidden, dims.hidden, bias=bias, role=Role.MIXER),
        ]

    def mlp(scope: Scope, index: int) -> list[Module]:
        if experts and index >= dense:
            return [
                scope.replicated("feed_forward.gate", dims.hidden, (experts,), role=Role.ROUTER),  # quantized unless left out (lfm2_moe.py)
                *([correction_bias("feed_forward.gate.bias", experts)] if config.flag("use_expert_bias", default=True) else []),
                scope.experts("feed_forward.experts", experts, dims.hidden, config.integer("moe_intermediate_size")),
            ]
        width = dims.intermediate if experts else lfm2_width(config, dims)
        return [
            scope.column("feed_forward.w13", dims.hidden, (width, width), parts=("w1", "w3"), role=Role.GATE_UP),
            scope.row("feed_forward.w2", width, dims.hidden, role=Role.DOWN),
        ]

    def build(scope: Scope, index: int) -> Layer:
        attentive = types[index] == "full_attention"
        modules = [*mixer(scope, attentive), *mlp(scope, index), *two_norms(dims)]
        return Layer(tuple(modules), (full_attention(dims) if attentive else state,))

    return build
