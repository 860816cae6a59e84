"""Decoders of other shapes: MLPs without gate, layer norms with biases, norms behind the block, norms over all heads.

vLLM 0.33 builds Nemotron and StableLM with classes of their own and the others with its Transformers backend
(model_executor/models/transformers/), which shards the Hugging Face modules.
"""

from __future__ import annotations

from collections.abc import Callable

from planner.architecture.blocks import Scope, addend, norm, plain
from planner.architecture.config import Config
from planner.architecture.text import Dims, Layer, LayerBuilder, attention_modules, default_window, full_attention, layer_types, qk_norms, sliding_window
from planner.facts.attention import Attention
from planner.facts.modules import Module
from planner.facts.record import dataclass

_TWO = ("input_layernorm", "post_attention_layernorm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What sets a decoder apart from Llama; `bias` is the default of its Hugging Face class for every projection."""

    norms: tuple[str, ...] = _TWO
    norm_bias: bool = False
    gated: bool = True
    bias: bool = False
    always: bool = False  # the biases are there whatever the config says
    head_norms: bool = False  # of queries and keys, a weight for each dimension of a head
    whole_norms: bool = False  # of queries and keys, a weight for each dimension of all heads, on every rank
    activation: int = 0  # parameters of the activation itself
    every: int = 0  # of the layers, one in so many is not windowed


def shaped(shape: Shape) -> Callable[[Config, Dims], LayerBuilder]:
    """A decoder of that shape."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        def biased(*keys: str) -> bool:
            return shape.bias if shape.always else config.flag(*keys, default=shape.bias)

        bias = biased("attention_bias", "use_bias", "qkv_bias", "use_qkv_bias")
        out_bias, mlp_bias = biased("attention_bias", "use_bias"), biased("mlp_bias", "use_bias")
        window = default_window(config, None)
        types = layer_types(config, dims, shape.every if window else 0)

        def norms() -> list[Module]:
            if shape.head_norms:
                return qk_norms(dims)
            if shape.whole_norms:
                return [*norm("self_attn.q_norm", dims.heads * dims.head_dim), *norm("self_attn.k_norm", dims.kv_heads * dims.head_dim)]
            return []

        def build(scope: Scope, index: int) -> Layer:
            mlp = (
                scope.gated_mlp("mlp", dims.hidden, dims.intermediate, bias=mlp_bias)
                if shape.gated
                else scope.plain_mlp("mlp.up_proj", "mlp.down_proj", dims.hidden, dims.intermediate, bias=mlp_bias)
            )
            modules = [
                *attention_modules(scope, dims, bias=bias, output_bias=out_bias),
                *norms(),
                *mlp,
                *(plain("mlp.act_fn", 1) for _ in range(shape.activation)),
                *(module for name in shape.norms for module in norm(name, dims.hidden, bias=shape.norm_bias)),
            ]
            windowed = window is not None and (not types or types[index] == "sliding_attention")
            attention: Attention = sliding_window(dims, window) if windowed and window else full_attention(dims)
            return Layer(tuple(modules), (attention,))

        return build

    return bind


OLMO = Shape(norms=())
OLMO2 = Shape(norms=("post_attention_layernorm", "post_feedforward_layernorm"), whole_norms=True, every=4)
VAULT_GEMMA = Shape(norms=("input_layernorm", "pre_feedforward_layernorm"), every=2)
HUNYUAN = Shape(head_norms=True)
ARCEE = Shape(gated=False)
APERTUS = Shape(gated=False, norms=("attention_layernorm", "feedforward_layernorm"), head_norms=True, activation=2)
NEMOTRON = Shape(gated=False, norm_bias=True)
STABLELM = Shape(norm_bias=True)
STARCODER2 = Shape(gated=False, norm_bias=True, bias=True)
PHI = Shape(gated=False, norms=("input_layernorm",), norm_bias=True, bias=True, always=True)


def final_bias(scope: Scope, dims: Dims) -> list[Module]:
    """The bias of a final layer norm."""
    return [addend("norm.bias", dims.hidden)]
