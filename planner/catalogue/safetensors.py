"""What a checkpoint's safetensors headers say: names, dtypes and shapes, without reading a weight.

A header is JSON behind eight bytes of length (github.com/huggingface/safetensors, format). Tensors that vLLM does not load
are left out: heads of multi-token prediction, a tied head that is stored twice, frequencies of rotary embeddings.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from math import prod
from pathlib import Path

from planner.catalogue.shards import FETCH, POINTER
from planner.errors import FileError, PlannerError
from planner.facts.model import CheckpointDifference, ModelSpec
from planner.facts.modules import Linear, Role
from planner.facts.record import dataclass
from planner.reader import is_pointer, open_file
from planner.text import shown
from planner.units import gib

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
NOTABLE = 0.005  # a difference below half a percent is rounding of scales and padding
_BITS = {
    "F64": 64,
    "C64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "I64": 64,
    "I32": 32,
    "I16": 16,
    "I8": 8,
    "U64": 64,
    "U32": 32,
    "U16": 16,
    "U8": 8,
    "BOOL": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}
_FLOATS = ("F64", "F32", "F16", "BF16")
_COMMON = frozenset(
    [
        "model",
        "layers",
        "language",
        "weight",
        "bias",
        "scale",
        "inv",
        "q",
        "k",
        "v",
        "qkv",
        "proj",
        "gate",
        "up",
        "down",
        "embed",
        "tokens",
        "norm",
        "lm",
        "head",
        "self",
        "attn",
        "mlp",
    ]
)
_NOT_LOADED = re.compile(r"(?:^|\.)(?:mtp|mtp_layers|nextn)\.|rotary_emb\.inv_freq|masked_bias$|\.attn\.bias$")

_DECODER_LAYER = re.compile(r"(?:(?:model|language_model)\.){0,2}layers\.(\d{1,6})\.")


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a checkpoint."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def stored_bytes(self) -> int:
        """Bytes in the file."""
        return prod(self.shape) * _BITS[self.dtype] // 8


def read_header(path: Path) -> list[StoredTensor]:
    """The tensors of one safetensors file. Raises PlannerError for a file that is not one."""
    try:
        with open_file(path) as stream:
            first = stream.read(8)
            length = int.from_bytes(first, "little")
            if is_pointer(first + stream.read(32)):
                raise FileError(path, POINTER, FETCH)
            stream.seek(8)
            if not 2 <= length <= MAX_HEADER_BYTES:
                raise PlannerError(f"{path} is not a safetensors file (a header of {length:,} bytes)", "is the download complete?")
            text = stream.read(length)
            data_bytes = os.fstat(stream.fileno()).st_size - 8 - length
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or error})") from None
    tensors, needed = parse_header(text, str(path), length)
    if data_bytes < needed:
        raise PlannerError(f"{path} is not whole: {needed - data_bytes:,} of {8 + length + needed:,} bytes are missing", "finish the download")
    if data_bytes > needed:
        raise PlannerError(f"{path} is {data_bytes - needed:,} bytes longer than its header says", "download it again")
    return tensors


def parse_header(text: bytes, path: str, length: int) -> tuple[list[StoredTensor], int]:
    """The tensors that a header describes, and the bytes of data behind it. Raises PlannerError where they have gaps, overlap or do not fit their shapes."""
    try:
        if len(text) < length:
            raise ValueError
        entries = json.loads(text, object_pairs_hook=_unique)
        tensors = [stored_tensor(name, entry["dtype"], entry["shape"]) for name, entry in entries.items() if name != "__metadata__"]
        offsets = [tuple(entry["data_offsets"]) for name, entry in entries.items() if name != "__metadata__"]
        end = 0
        for (begin, after), size in sorted(zip(offsets, (tensor.stored_bytes for tensor in tensors), strict=True)):
            if type(begin) is not int or begin != end or after != begin + size:
                raise ValueError
            end = after
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise FileError(path, "the safetensors header is broken", "is the download complete?") from None
    return tensors, end


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON in which no name appears twice, as the format forbids."""
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError
    return named


def stored_tensor(name: object, dtype: object, shape: object) -> StoredTensor:
    """One entry of a header. Raises ValueError for a dtype that the format does not have, or a shape that cannot be."""
    if not isinstance(name, str) or dtype not in _BITS or not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 1 << 48 for size in shape):
        raise ValueError
    return StoredTensor(name, str(dtype), tuple(shape))


def loaded(tensors: Iterable[StoredTensor], dtype_bits: int, *, tied: bool) -> Counter[str]:
    """Bytes of what vLLM loads, by name with the layers' numbers starred.

    A float32 checkpoint is loaded in the model's dtype; in others float32 tensors are scales and biases that stay as they are.
    """
    kept = [tensor for tensor in tensors if not _NOT_LOADED.search(tensor.name) and not (tied and tensor.name.endswith("lm_head.weight"))]
    wide = sum(tensor.stored_bytes for tensor in kept if tensor.dtype == "F32") > sum(tensor.stored_bytes for tensor in kept) / 2
    groups: Counter[str] = Counter()
    for tensor in kept:
        cast = tensor.dtype in _FLOATS and (wide or tensor.dtype != "F32")
        size = prod(tensor.shape) * dtype_bits // 8 if cast else tensor.stored_bytes
        groups[re.sub(r"\.\d+(?=\.)", ".*", tensor.name)] += size
    return groups


def difference(model: ModelSpec, derived_bytes: int, tensors: Iterable[StoredTensor], dtype_bits: int) -> CheckpointDifference | None:
    """Where a checkpoint's tensors and the arithmetic from its config disagree, in a sentence that names tensors; None where they agree.

    Where they agree, the arithmetic is the better of the two: it knows padding, fused layers and what a rank replicates. Tensors
    that no module of the class answers to are ones that vLLM skips or refuses; others of another size or dtype are what it loads.
    """
    modules = [module for part in (model.first, model.tower, model.last, model.every, *(group.modules for group in model.layers)) for module in part]
    mine = (tensor for tensor in tensors if not _is_beyond(tensor.name, model.layer_count))
    groups = loaded(mine, dtype_bits, tied=not any(isinstance(module, Linear) and module.role is Role.HEAD for module in modules))
    stored = groups.total()
    if abs(stored - derived_bytes) <= NOTABLE * derived_bytes:
        return None
    known = {word for module in modules for word in re.split(r"[._]", module.name)} | _COMMON
    strange = [name for name, _ in groups.most_common() if not set(re.split(r"[._]", name.replace(".*", ""))) <= known]
    sizes = f"the tensors hold {gib(stored)}, the config gives {gib(derived_bytes)}"
    if strange:
        return CheckpointDifference(derived_bytes, derived_bytes, f"{sizes}; not counted, as no module is named like {', '.join(map(shown, strange[:3]))}")
    largest = [name for name, _ in groups.most_common(3)]
    return CheckpointDifference(stored, derived_bytes, f"{sizes}; the tensors are believed, the largest are {', '.join(map(shown, largest))}")


def _is_beyond(name: str, layers: int) -> bool:
    """Whether a tensor belongs to a layer after the decoder's last: a head of multi-token prediction (DeepSeek, GLM)."""
    match = _DECODER_LAYER.match(name)
    return match is not None and int(match[1]) >= layers
