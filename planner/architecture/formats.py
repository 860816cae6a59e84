"""The stored forms of a weight, and what a quantization is: who is stored how. Read from checkpoints by quantization.py.

Source of the planes: create_weights of each method in vllm/model_executor/layers/quantization/, 0.33.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum

from planner.errors import UnsupportedModelError
from planner.facts.modules import Tensor, TensorRole
from planner.facts.record import dataclass
from planner.facts.storage import BF16, Arithmetic, Cut, Encoding, Kernels, Plane, Storage


class Target(StrEnum):
    """What a format is asked for: it may treat these differently."""

    LINEAR = "linear"
    EXPERTS = "experts"
    HEAD = "head"


_PREFIXES = ("", "model.", "backbone.", "transformer.", "language_model.", "language_model.model.", "model.language_model.", "model.language_model.model.")
# How names of what lies beside a language model begin: no list that names that one means them.
_NAMES_OF_TOWERS = """
    vis vit vpm vq_ vte apm audio whisper sound sam_ resampler connector multi_modal mm_ mlp1 mlp_AR merger qformer embed_audio embed_vision
    language_projection projectors qwen2_model
"""
_OF_TOWERS = tuple(_NAMES_OF_TOWERS.split())


def spellings(name: str) -> list[str]:
    """Every spelling under which a checkpoint may list the module `name` (given without its model prefix).

    vLLM maps checkpoint names to its own per architecture (hf_to_vllm_mapper); listing the spellings is the general form.
    """
    if not name:
        return [""]  # of a layer that its class gives no name: only a pattern for everything means it
    return [prefix + name for prefix in (_PREFIXES[:4] if name.startswith(_OF_TOWERS) else _PREFIXES)]


_FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj"), "merged_linear": ("gate_proj", "up_proj")}


def with_parts(names: Sequence[str]) -> list[str]:
    """What is listed, and the parts of fused matrices that are listed as one (quant_utils.py is_layer_skipped, compressed_tensors/utils.py)."""
    split = ((stem, _FUSED[last]) for name in names for stem, _, last in [name.rpartition(".")] if last in _FUSED)
    return [*names, *(f"{stem}.{part}" for stem, parts in split for part in parts)]


_WHOLE = {
    ("q_proj", "k_proj", "v_proj"): "qkv_proj",
    ("gate_proj", "up_proj"): "gate_up_proj",
    ("in_proj_b", "in_proj_a"): "in_proj_ba",
    ("in_proj_qkv", "in_proj_z"): "in_proj_qkvz",
}


def fused_name(names: Sequence[str]) -> str:
    """The one name by which a class calls the matrix made of these; the first's where it is not known."""
    whole = _WHOLE.get(tuple(name.rpartition(".")[2] for name in names))
    return names[0].rpartition(".")[0] + "." + whole if whole else names[0]


# Whose experts have no biases whatever their model has, but for compressed-tensors' integers (w13_bias in quantization/).
_WITHOUT_BIAS = ("auto_awq", "auto_gptq", "inc", "modelopt", "modelopt_fp4", "modelopt_mixed", "compressed-tensors")


@dataclass(frozen=True, slots=True)
class Quantization:
    """A checkpoint's quantization: its name in vLLM, and who is stored how."""

    name: str | None
    lookup: Callable[[Sequence[str], Target], Storage]
    main: Storage  # of most weights
    attention_scales: tuple[Tensor, ...] = ()
    latent_scales: tuple[Tensor, ...] = ()
    has_cache_scheme: bool = False
    """Whether the layers that register such scales decide how the cache is kept (compressed-tensors)."""
    scales_by_head: bool = False
    """Whether each key-value head has such scales, not the layer."""
    kv_cache_dtype: str = "auto"
    leaves_cache: Callable[[str], bool] | None = None
    """Whether an attention layer of this name is left out too, and registers no scales."""

    def keeps_bias(self, storage: Storage) -> bool:
        """Whether experts so stored are given the biases that their model has; GPTQ's are in its planes."""
        if not storage.is_quantized or self.name not in _WITHOUT_BIAS:
            return True
        return self.name == "compressed-tensors" and storage.encoding in (Encoding.PACKED, Encoding.INT8)

    def bias_bits(self, storage: Storage) -> int:
        """Bits of a bias of experts so stored; 16 are the model's own (quark_moe.py: w13_bias, w2_bias are float32)."""
        return 32 if storage.is_quantized and self.name == "quark" else 16

    def storage(self, names: Sequence[str], target: Target) -> Storage:
        """Storage of the (fused) module made of the checkpoint modules `names`."""
        return self.lookup(names, target)


UNQUANTIZED = Quantization(name=None, lookup=lambda names, target: BF16, main=BF16)

SCALE = Plane(32, 0, 0)  # one float32 for each fused part
PER_MATRIX = Plane(32, -1, 0)
BLACKWELL = 100  # compute capability


def fp8(*planes: Plane) -> Storage:
    """Eight-bit floats, multiplied as such from Ada on."""
    return Storage(name="fp8", planes=(Plane(8), *planes), arithmetic=Arithmetic.FP8, encoding=Encoding.FP8)


def nvfp4(*scales: Plane, arithmetic: Arithmetic = Arithmetic.FP4) -> Storage:
    """Four-bit floats, an FP8 scale for 16 of them, and `scales` of the whole matrix and its inputs."""
    return Storage(name="nvfp4", planes=(Plane(4), Plane(8, 1, 16), *scales), input_multiple=16, arithmetic=arithmetic, encoding=Encoding.NVFP4)


FP8_TENSOR, FP8_TENSOR_STATIC, FP8_TENSOR_STATIC_EXPERTS = fp8(SCALE), fp8(SCALE, SCALE), fp8(SCALE, PER_MATRIX)
FP8_MATRIX = fp8(PER_MATRIX)
FP8_CHANNEL = fp8(Plane(32, 1, 0))
NVFP4 = nvfp4(SCALE, SCALE)
NVFP4_WEIGHT_ONLY = nvfp4(SCALE, Plane(16, 0, 0), arithmetic=Arithmetic.BF16)  # its unused input scale is 16-bit
# Micro-scaled formats are multiplied as they are from Blackwell on; before it Marlin widens them (fused_moe/oracle/mxfp4.py,
# compressed_tensors_w4a4_mxfp4.py, kernels/linear/mxfp8/flashinfer.py)
MXFP8 = Storage(name="mxfp8", planes=(Plane(8), Plane(8, 1, 32)), input_multiple=32, arithmetic=Arithmetic.FP8, arithmetic_since=BLACKWELL)
MXFP4_LINEAR = replace(MXFP8, name="mxfp4-linear", planes=(Plane(4), Plane(8, 1, 32)))
MXFP4_MARLIN = replace(MXFP4_LINEAR, name="mxfp4", kernels=Kernels.MXFP4_MARLIN)  # experts of other models than gpt-oss
MXFP4 = replace(MXFP4_LINEAR, name="mxfp4", kernels=Kernels.MXFP4, encoding=Encoding.MXFP4)


def fp8_block(rows: int, columns: int, *, scale_bits: int = 32, cut: Cut = Cut.EXPERTS) -> Storage:
    """FP8 with a scale for each block of rows x columns (vllm fp8.py:330)."""
    return replace(fp8(Plane(scale_bits, rows, columns)), name=f"fp8-block{rows}", cut=cut)


def grouped_int(bits: int, group: int, zero_points: bool, *, encoding: Encoding, extra_bytes: int = 0, bias: bool = False) -> Storage:
    """4- or 8-bit integers, a 16-bit scale (and packed zero point) a group of inputs; group -1 is a whole row. `bias`: one for each row, used or not."""
    columns = 0 if group == -1 else group
    whole_words = 32 // bits if encoding is Encoding.PACKED else 1  # inputs are packed eight or four to a word, the last not full
    planes = [Plane(bits, extra_bytes=extra_bytes, columns_multiple=whole_words), Plane(16, 1, columns)]
    if zero_points:
        planes.append(Plane(bits, 1, columns))
    if bias:
        planes.append(Plane(16, 1, 0))
    return Storage(
        name=f"int{bits}-g{group}",
        planes=tuple(planes),
        input_multiple=max(1, columns),
        output_multiple=32 // bits if zero_points else 1,
        encoding=encoding,
    )


def weight_only(storage: Storage) -> Storage:
    """The same weights where the inputs stay in 16 bits: they are widened before they are multiplied."""
    return replace(storage, arithmetic=Arithmetic.BF16)


def scalars(count: int, bits: int, name: str = "attn.scales") -> tuple[Tensor, ...]:
    """`count` parameters of one value each."""
    return tuple(Tensor(name=name, axes=(), bits=bits, role=TensorRole.CACHE_SCALE) for _ in range(count))


def listed(names: Sequence[str], matches: Callable[[str], bool]) -> bool:
    """Whether every part of a fused module is listed (vLLM refuses half-listed ones)."""
    return _all_or_none(names, [any(matches(s) for s in spellings(name)) for name in names])


def mentioned(names: Sequence[str], parts: Sequence[str]) -> bool:
    """The same where a module is listed by any part of its name; that of the fused one is asked first: `mlp.gate` is in `mlp.gate_up_proj`."""
    if any(part in spelled for spelled in spellings(fused_name(names)) for part in parts):
        return True
    texts = ["\n".join(spellings(name)) for name in names]
    return _all_or_none(names, [any(part in text for part in parts) for text in texts])


def _all_or_none(names: Sequence[str], hits: Sequence[bool]) -> bool:
    if any(hits) and not all(hits):
        raise UnsupportedModelError(f"only some of {', '.join(names)} are quantized; vLLM needs all parts of a fused layer alike")
    return all(hits)
