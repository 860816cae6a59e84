"""GGUF tensor types and the mixes that llama.cpp's quantizer makes of them, as data and its own rules.

Sources: llama.cpp (vendored in llama-cpp-python 0.3.36, @0c1e57098) ggml/src/ggml.c type traits, src/llama-quant.cpp
tensor_get_category, tensor_allows_quantization, llama_tensor_get_type_impl, tensor_type_fallback. No imatrix is assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import prod

from planner.engines.llamacpp.layers import Part
from planner.facts.record import dataclass

# name: (elements of a block, bytes of a block)
TYPES: dict[str, tuple[int, int]] = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q2_K": (256, 84),
    "Q3_K": (256, 110),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
    "IQ1_S": (256, 50),
    "IQ1_M": (256, 56),
    "IQ2_XXS": (256, 66),
    "IQ2_XS": (256, 74),
    "IQ2_S": (256, 82),
    "IQ3_XXS": (256, 98),
    "IQ3_S": (256, 110),
    "IQ4_NL": (32, 18),
    "IQ4_XS": (256, 136),
    "TQ1_0": (256, 54),
    "TQ2_0": (256, 66),
    "MXFP4": (32, 17),
    "NVFP4": (64, 36),
    "I32": (1, 4),
}
TYPE_NUMBERS = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K",
    16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 26: "I32", 29: "IQ1_M", 30: "BF16",
    34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}  # fmt: skip
# A mix and the type that most of its tensors have (llama_ftype_get_default_type).
MIXES: dict[str, str] = {
    "F16": "F16", "BF16": "BF16", "Q8_0": "Q8_0", "Q4_0": "Q4_0", "Q4_1": "Q4_1", "Q5_0": "Q5_0", "Q5_1": "Q5_1",
    "Q2_K": "Q2_K", "Q2_K_S": "Q2_K", "Q3_K_S": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_L": "Q3_K", "Q4_K_S": "Q4_K", "Q4_K_M": "Q4_K", "Q5_K_S": "Q5_K",
    "Q5_K_M": "Q5_K", "Q6_K": "Q6_K", "IQ1_S": "IQ1_S", "IQ1_M": "IQ1_M", "IQ2_XXS": "IQ2_XXS", "IQ2_XS": "IQ2_XS", "IQ2_S": "IQ2_XS", "IQ2_M": "IQ2_S",
    "IQ3_XXS": "IQ3_XXS", "IQ3_XS": "IQ3_S", "IQ3_S": "IQ3_S", "IQ3_M": "IQ3_S", "IQ4_NL": "IQ4_NL", "IQ4_XS": "IQ4_XS", "MXFP4_MOE": "MXFP4",
    "MXFP4_BF16": "BF16",
}  # fmt: skip
AS_PUBLISHED = "MXFP4_BF16"  # no mix of the quantizer's: gpt-oss as OpenAI stores it, experts in MXFP4 and the rest in 16 bits, as Ollama's library has it
KV_TYPES = ("f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
_FALLBACK = {
    "IQ1_S": "IQ4_NL", "IQ1_M": "IQ4_NL", "IQ2_XXS": "IQ4_NL", "IQ2_XS": "IQ4_NL", "IQ2_S": "IQ4_NL", "IQ3_XXS": "IQ4_NL", "IQ3_S": "IQ4_NL",
    "IQ4_XS": "IQ4_NL", "Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
}  # fmt: skip
_FIVE_BITS_OUT = ("Q2_K", "IQ3_XS", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ3_S", "IQ3_M", "IQ4_XS")  # with eight experts
_TINY = ("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ2_S", "IQ2_M", "IQ1_M")


class Kind(StrEnum):
    """What a tensor does in the model, as far as the quantizer cares."""

    EMBEDDING = "token_embd"
    OUTPUT = "output"
    Q = "attn_q"
    K = "attn_k"
    V = "attn_v"
    QKV = "attn_qkv"
    ATTENTION_OUT = "attn_output"
    UP = "ffn_up"
    GATE = "ffn_gate"
    DOWN = "ffn_down"
    OTHER = "other"
    WIDE = "wide"  # never quantized: norms, biases, routers, convolutions, in 32 bits


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor: its shape with the row length last, its layer (-1: none), and which part of that it is."""

    kind: Kind
    shape: tuple[int, ...]
    layer: int = -1
    part: Part = Part.REST


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model's dimensions the quantizer's rules ask for."""

    layers: int
    heads: int
    kv_heads: int
    experts: int = 0
    is_70b: bool = False  # 80 layers of the Llama or Qwen2 architecture with shared key-value heads
    experts_stay: bool = False  # as their makers published them, in MXFP4, in every mix: gpt-oss's

    @property
    def gqa(self) -> int:
        """Query heads a key-value head serves."""
        return self.heads // self.kv_heads


def tensor_bytes(name: str, shape: Sequence[int]) -> int:
    """Bytes of a tensor of one type, rows of whole blocks. Raises KeyError for an unknown type."""
    elements, size = TYPES[name]
    return prod(shape[:-1]) * (shape[-1] // elements) * size


def _more_bits(index: int, count: int) -> bool:
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2


class Mixer:
    """Chooses the type of each tensor, in the file's order, since some rules count what came before."""

    def __init__(self, mix: str, tensors: Sequence[GgufTensor], shape: Shape) -> None:
        self.mix, self.shape, self.base = mix, shape, MIXES[mix]
        self.tied = not any(tensor.kind is Kind.OUTPUT for tensor in tensors)
        self.values = sum(tensor.kind in (Kind.V, Kind.QKV) for tensor in tensors)
        self.seen_values = self.seen_downs = 0

    def type_of(self, tensor: GgufTensor) -> str:
        """The type that llama-quantize gives a tensor."""
        if tensor.kind is Kind.WIDE or len(tensor.shape) < 2:
            return "F32"
        if (self.mix == AS_PUBLISHED or self.shape.experts_stay) and len(tensor.shape) > 2:
            return "MXFP4"
        if self.base in ("F16", "BF16"):
            return self.base
        name = self._wanted(tensor)
        if tensor.shape[-1] % TYPES[name][0]:
            name = _FALLBACK.get(name, name)
            if tensor.shape[-1] % TYPES[name][0]:
                name = "F16"
        return name

    def _wanted(self, tensor: GgufTensor) -> str:
        if tensor.kind is Kind.OUTPUT or (self.tied and tensor.kind is Kind.EMBEDDING):
            return self._output(tensor)
        if self.mix == "MXFP4_MOE":
            return "MXFP4" if len(tensor.shape) > 2 else "Q8_0"
        match tensor.kind:
            case Kind.EMBEDDING:
                return self._embedding()
            case Kind.V | Kind.QKV if self.mix not in _TINY:
                return self._value(tensor)
            case Kind.DOWN if self.mix not in _TINY:
                index = tensor.layer if self.shape.experts > 1 else self.seen_downs
                self.seen_downs += 1
                return self._down(index)
            case _:
                return self._tiny(tensor) if self.mix in _TINY else self._other(tensor)

    def _output(self, tensor: GgufTensor) -> str:
        if self.mix == "MXFP4_MOE" or tensor.shape[-1] % TYPES[self.base][0]:
            return "Q8_0"
        if self.mix in (*_TINY, "IQ3_XXS"):
            return "Q5_K"
        return "Q8_0" if self.base == "Q8_0" else "Q6_K"

    def _embedding(self) -> str:
        if self.mix in ("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"):
            return "Q2_K"
        return "IQ3_S" if self.mix in ("IQ2_S", "IQ2_M", "IQ3_XXS") else self.base

    def _tiny(self, tensor: GgufTensor) -> str:
        """The mixes of about two bits."""
        better = self.mix in ("IQ2_S", "IQ2_M")
        match tensor.kind:
            case Kind.V | Kind.QKV:
                return "Q4_K" if self.shape.gqa >= 4 or self.shape.experts >= 4 else "IQ3_S" if better else "Q2_K"
            case Kind.K if self.shape.experts == 8:
                return "Q4_K"
            case Kind.DOWN:
                self.seen_downs += 1
                if self.seen_downs - 1 < self.shape.layers // 8:
                    return "IQ3_S" if better else "Q2_K"
            case Kind.ATTENTION_OUT:
                if self.shape.experts == 8:
                    return "Q5_K"
                return "IQ3_S" if better else "IQ2_XXS" if self.mix in ("IQ1_S", "IQ1_M") else self.base
            case _:
                pass
        return self.base

    def _value(self, tensor: GgufTensor) -> str:
        index, grouped = self.seen_values, self.shape.gqa >= 4
        self.seen_values += 1
        name = self.base
        match self.mix:
            case "Q2_K":
                name = "Q4_K" if grouped else "Q3_K"
            case "Q2_K_S" | "IQ3_XS" | "IQ3_S" if grouped:
                name = "Q4_K"
            case "IQ3_XXS":
                name = "Q4_K" if grouped else "IQ3_S"
            case "IQ3_M":
                name = "Q4_K"
            case "Q3_K_M":
                name = "Q5_K" if index < 2 else "Q4_K"
            case "Q3_K_L":
                name = "Q5_K"
            case "IQ4_NL" | "IQ4_XS" if grouped:
                name = "Q5_K"
            case "Q4_K_M" | "Q5_K_M" if _more_bits(index, self.values):
                name = "Q6_K"
            case "Q4_K_S" if index < 4:
                name = "Q5_K"
            case _:
                pass
        if self.shape.is_70b and name in ("Q3_K", "Q4_K"):
            name = "Q5_K"
        return "Q8_0" if self.shape.experts == 8 else name

    def _down(self, index: int) -> str:
        layers = self.shape.layers
        match self.mix:
            case "Q2_K":
                return "Q3_K"
            case "Q2_K_S" if index < layers // 8:
                return "Q4_K"
            case "IQ3_XXS":
                return "Q4_K" if index < layers // 8 else "Q3_K"
            case "Q3_K_M":
                return "Q5_K" if index < layers // 16 else "Q4_K"
            case "IQ3_M" if index < layers // 8 or (self.shape.experts == 8 and _more_bits(index, layers)):
                return "Q4_K"
            case "Q3_K_L":
                return "Q5_K"
            case "Q4_K_M" | "Q5_K_M" if _more_bits(index, layers):
                return "Q6_K"
            case "IQ4_NL" | "IQ4_XS" | "Q4_K_S" if index < layers // 8:
                return "Q5_K"
            case _:
                return self.base

    def _other(self, tensor: GgufTensor) -> str:
        layers, eight = self.shape.layers, self.shape.experts == 8
        match tensor.kind:
            case Kind.K if eight:
                return "Q8_0"
            case Kind.Q | Kind.K if self.mix in ("IQ3_XS", "IQ3_XXS"):
                return "IQ3_XXS" if self.mix == "IQ3_XS" else "IQ2_S"
            case Kind.ATTENTION_OUT if eight:
                return "Q5_K" if self.mix in _FIVE_BITS_OUT else self.base
            case Kind.ATTENTION_OUT:
                better = {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}
                return better.get(self.mix, self.base)
            case Kind.UP | Kind.GATE if self.mix == "IQ3_XS" and layers // 8 <= tensor.layer < 7 * layers // 8:
                return "IQ3_XXS"
            case _:
                return self.base
