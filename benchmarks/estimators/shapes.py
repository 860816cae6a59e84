"""A model's tensors as its repository stores them: fused matrices taken apart, experts one by one, under the names that transformers gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from planner.facts.model import ModelSpec
from planner.facts.modules import Experts, Linear, Module, Role, Tensor
from planner.facts.storage import Encoding, Plane, Storage
from planner.units import ceil_div

Tensors = Iterator[tuple[str, tuple[str, tuple[int, ...]]]]
_PARTS = {
    Role.QKV: ("qkv_proj", ("q_proj", "k_proj", "v_proj")),
    Role.GATE_UP: ("gate_up_proj", ("gate_proj", "up_proj")),
}
_PACKED = (Encoding.AWQ, Encoding.GPTQ, Encoding.PACKED)  # eight values of four bits in a word
_SUFFIX = ("weight", "weight_scale", "weight_zero_point", "weight_global_scale", "input_scale")


@dataclass(frozen=True, slots=True)
class _Matrix:
    name: str
    rows: int
    columns: int
    storage: Storage


def tensors(model: ModelSpec) -> dict[str, tuple[str, tuple[int, ...]]]:
    """All of a model's tensors, by name."""
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for module in (*model.first, *model.every):
        found |= dict(_of(_top(module), module))
    for group in model.layers:
        for index in group.indices:
            for module in group.modules:
                found |= dict(_of(f"model.layers.{index}.{module.name}", module))
    for module in model.last:
        found |= dict(_of(_top(module), module))
    for module in model.tower:
        found |= dict(_of(module.name, module))
    return found


def _top(module: Module) -> str:
    return module.name if module.name == "lm_head" else f"model.{module.name}"


def _of(name: str, module: Module) -> Tensors:
    match module:
        case Tensor():
            dtype = {32: "F32", 8: "I8"}.get(module.bits, "BF16")
            suffix = ".weight" if "." not in name.removeprefix("model.") or "norm" in name or "embed" in name else ""
            yield f"{name}{suffix}", (dtype, tuple(axis.size for axis in module.axes))
        case Linear():
            fused, parts = _PARTS.get(module.role, ("", ()))
            sizes = [axis.size for axis in module.outputs]
            names = [name.replace(fused, part) for part in parts] if fused and fused in name and len(parts) == len(sizes) else []
            for part, rows in zip(names, sizes, strict=True) if names else [(name, sum(sizes))]:
                yield from _stored(_Matrix(part, rows, module.inputs.size, module.storage))
                if module.bias:
                    yield f"{part}.bias", ("BF16", (rows,))
        case Experts():
            for expert in range(module.experts):
                place = f"{name}.{expert}"
                names = ("gate_proj", "up_proj") if module.shards == 2 else ("up_proj",)
                for part in names:
                    yield from _stored(_Matrix(f"{place}.{part}", module.intermediate, module.hidden, module.storage))
                yield from _stored(_Matrix(f"{place}.down_proj", module.hidden, module.intermediate, module.storage))


def _stored(matrix: _Matrix) -> Tensors:
    """The planes of one matrix: its values, then scales and zero points."""
    for index, plane in enumerate(matrix.storage.planes):
        name = f"{matrix.name}.{_SUFFIX[min(index, len(_SUFFIX) - 1)]}"
        rows = 1 if plane.row_block <= 0 else ceil_div(matrix.rows, plane.row_block)
        columns = 1 if plane.column_block == 0 else ceil_div(matrix.columns, plane.column_block)
        yield name, _typed(plane, rows, columns, matrix.storage.encoding, is_values=index == 0)


def _typed(plane: Plane, rows: int, columns: int, encoding: Encoding, *, is_values: bool) -> tuple[str, tuple[int, ...]]:
    """The dtype in which a plane lies in a file, and its shape there."""
    packed = encoding in _PACKED
    if plane.bits in (32, 16):
        return ("F32" if plane.bits == 32 else "BF16"), (rows, columns)
    if plane.bits == 8 and not (packed and is_values):
        return ("I8" if encoding is Encoding.INT8 else "F8_E4M3"), (rows, columns)
    if packed:
        return "I32", (rows, ceil_div(columns * plane.bits, 32))
    return "U8", (rows, ceil_div(columns * plane.bits, 8))
