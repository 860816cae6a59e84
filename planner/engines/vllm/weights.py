"""Bytes of the parameters one rank holds, exactly as vLLM's own classes create them.

A fused linear's outputs are the sum of its parts' shares; every `Plane` of its storage is then counted on that shard.
Sources: vllm/model_executor/layers/{linear.py,vocab_parallel_embedding.py,fused_moe/} and quantization/, 0.33.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import gcd, prod
from typing import assert_never

from planner.errors import PlannerError
from planner.facts.config import Parallel
from planner.facts.model import FP32, ROUTER, Axis, Experts, Linear, ModelSpec, Module, Plane, Split, Storage, Tensor
from planner.units import ceil_div, round_up

VOCAB_PADDING = 64  # vocab_parallel_embedding.py:36 DEFAULT_VOCAB_PADDING_SIZE


def axis_size(axis: Axis, tp: int) -> int:
    """Elements of one dimension on one rank. Raises PlannerError where the split is impossible."""
    match axis.split:
        case Split.WHOLE:
            return axis.size
        case Split.TP:
            if axis.size % tp:
                raise NotDivisibleError(f"{axis.size} cannot be divided over {tp} ranks")
            return axis.size // tp
        case Split.HEADS:
            if axis.units % tp and tp % axis.units:
                raise NotDivisibleError(f"{axis.units} key-value heads and tensor parallel size {tp}: one must divide the other")
            return max(1, axis.units // tp) * (axis.size // axis.units)
        case Split.EVEN:
            return axis.size if axis.units % tp else axis_size(Axis(axis.size, Split.TP), tp)
        case Split.VOCAB:
            padded = round_up(axis.size, VOCAB_PADDING)
            if padded % tp:
                raise NotDivisibleError(f"the padded vocabulary of {padded} cannot be divided over {tp} ranks")
            return padded // tp
        case _:
            assert_never(axis.split)


class NotDivisibleError(PlannerError):
    """A tensor-parallel size that does not divide what must be divided."""


def tensor_bytes(tensor: Tensor, tp: int, dtype_bits: int) -> int:
    """Bytes of a plain parameter on one rank; 16 bits stand for the model's dtype."""
    bits = dtype_bits if tensor.bits == 16 else tensor.bits
    return prod(axis_size(axis, tp) for axis in tensor.axes) * bits // 8


def plane_bytes(plane: Plane, parts: list[int], columns: int, dtype_bits: int) -> int:
    """Bytes of one plane of a matrix of sum(parts) x columns."""
    bits = dtype_bits if plane.bits == 16 else plane.bits
    match plane.row_block:
        case 0:
            rows = len(parts)
        case -1:
            rows = 1
        case block:
            rows = ceil_div(sum(parts), block)
    width = 1 if plane.column_block == 0 else ceil_div(columns, plane.column_block)
    return rows * width * bits // 8 + plane.extra_bytes


def matrix_bytes(storage: Storage, parts: list[int], columns: int, dtype_bits: int) -> int:
    """Bytes of a stored matrix: the sum of its planes."""
    return sum(plane_bytes(plane, parts, columns, dtype_bits) for plane in storage.planes)


def linear_bytes(linear: Linear, tp: int, dtype_bits: int) -> int:
    """Bytes of a (fused) linear layer on one rank. Raises NotDivisibleError where a quantization group would be cut."""
    columns = axis_size(linear.inputs, tp)
    parts = [axis_size(axis, tp) for axis in linear.outputs]
    parts[-1] += -sum(parts) % linear.rows_multiple
    _check_groups(linear.name, linear.storage, columns, sum(parts))
    bias = sum(parts) * dtype_bits // 8 if linear.bias else 0
    return matrix_bytes(linear.storage, parts, columns, dtype_bits) + bias


def _check_groups(name: str, storage: Storage, columns: int, rows: int) -> None:
    if columns % storage.input_multiple:
        raise NotDivisibleError(f"{name}: {columns} inputs a rank are not a multiple of the quantization group {storage.input_multiple}")
    if rows % storage.output_multiple:
        raise NotDivisibleError(f"{name}: {rows} outputs a rank are not a multiple of {storage.output_multiple}")


def local_experts(experts: int, ranks: int) -> int:
    """Experts on the fullest rank of an expert-parallel group (fused_moe/layer.py determine_expert_map)."""
    return ceil_div(experts, ranks)


def experts_bytes(bank: Experts, parallel: Parallel, dtype_bits: int) -> int:
    """Bytes of a layer's routed experts on one rank: sliced by tensor parallelism, or spread whole by expert parallelism."""
    tp = parallel.tensor_parallel_size
    spread = parallel.enable_expert_parallel and tp > 1
    count = local_experts(bank.experts, tp) if spread else bank.experts
    width = bank.intermediate if spread or tp == 1 else max(bank.minimum_width, axis_size(Axis(bank.intermediate, Split.TP), tp))
    hidden = bank.hidden
    if bank.storage.name == "mxfp4":
        width, hidden = round_up(width, parallel.expert_width_multiple), round_up(hidden, parallel.expert_hidden_multiple)
    elif bank.storage.name == "16-bit" and bank.shards == 1:
        width = round_up(width, parallel.ungated_width_multiple)
    storage = _refined(bank.storage, width, hidden, sliced=tp > 1 and not spread)
    _check_groups(bank.name, storage, width, width)
    w13 = matrix_bytes(storage, [width] * bank.shards, hidden, dtype_bits)
    w2 = matrix_bytes(storage, [hidden], width, dtype_bits)
    bias = (bank.shards * width + hidden) * dtype_bits // 8 if bank.bias else 0
    return count * (w13 + w2 + bias)


def _refined(storage: Storage, width: int, hidden: int, *, sliced: bool) -> Storage:
    """Block scales of a slice that cuts blocks are refined to the largest common block (fused_moe/oracle/fp8.py:292)."""
    block = next((plane for plane in storage.planes if plane.row_block > 1), None)
    if block is None or (width % block.row_block == 0 and (not sliced or width % block.column_block == 0)):
        return storage
    size = gcd(block.row_block, block.column_block, width, hidden)
    if size < 32:
        raise NotDivisibleError(f"expert width {width} a rank cannot hold FP8 blocks of {block.row_block}x{block.column_block}")
    planes = tuple(Plane(plane.bits, size, size) if plane is block else plane for plane in storage.planes)
    return Storage(storage.name, planes)


def module_bytes(module: Module, parallel: Parallel, dtype_bits: int = 16) -> int:
    """Bytes of any module on one rank."""
    match module:
        case Linear(storage=storage) if storage is ROUTER and parallel.wide_router:
            return linear_bytes(replace(module, storage=FP32), parallel.tensor_parallel_size, dtype_bits)
        case Linear():
            return linear_bytes(module, parallel.tensor_parallel_size, dtype_bits)
        case Experts():
            return experts_bytes(module, parallel, dtype_bits)
        case Tensor():
            return tensor_bytes(module, parallel.tensor_parallel_size, dtype_bits)
        case _:
            assert_never(module)


def modules_bytes(modules: Iterable[Module], parallel: Parallel, dtype_bits: int = 16) -> int:
    """Bytes of several modules on one rank."""
    return sum(module_bytes(module, parallel, dtype_bits) for module in modules)


def stage_layers(layers: int, stages: int) -> list[int]:
    """Layers of each pipeline stage: the remainder goes to the stages before the last (vllm distributed/utils.py get_pp_indices)."""
    per_stage, remaining = divmod(layers, stages)
    counts = [per_stage] * stages
    for offset in range(2, remaining + 2):
        counts[-offset] += 1
    return counts


@dataclass(frozen=True, slots=True)
class Parts:
    """Parameter bytes that one rank holds of each part of a model, however its layers are divided over stages."""

    every: int
    first: int
    last: int
    tied_copy: int
    layers: tuple[int, ...]  # of one layer of each group


def part_bytes(model: ModelSpec, parallel: Parallel, dtype_bits: int = 16) -> Parts:
    """Bytes of the parts on one rank. Raises NotDivisibleError where tensor parallelism cannot divide one."""
    every, first, last, copy = (modules_bytes(part, parallel, dtype_bits) for part in (model.every, model.first, model.last, model.tied_copy))
    return Parts(every, first, last, copy, tuple(modules_bytes(group.modules, parallel, dtype_bits) for group in model.layers))


def stage_totals(model: ModelSpec, parts: Parts, stages: int) -> list[int]:
    """Parameter bytes of one rank of each pipeline stage.

    The first stage holds the embedding and the vision tower, the last the final norm and head (and the embedding again where
    they are tied); some classes build their ends on every stage.
    """
    totals, start = [], 0
    for stage, count in enumerate(stage_layers(model.layer_count, stages)):
        end = start + count
        held = (bisect_left(group.indices, end) - bisect_left(group.indices, start) for group in model.layers)
        total = parts.every + sum(size * layers for size, layers in zip(parts.layers, held, strict=True))
        is_first, is_last = stage == 0, stage == stages - 1
        total += (parts.first if is_first else 0) + (parts.last if is_last else 0)
        totals.append(_as_stored(model, total + (parts.tied_copy if is_last and not is_first else 0)))
        start = end
    return totals


def stage_weights(model: ModelSpec, parallel: Parallel, dtype_bits: int = 16) -> list[int]:
    """Parameter bytes of one rank of each pipeline stage. Raises NotDivisibleError."""
    return stage_totals(model, part_bytes(model, parallel, dtype_bits), parallel.pipeline_parallel_size)


def kernels_matter(model: ModelSpec) -> bool:
    """Whether what a GPU's kernels round and widen (`Parallel`'s multiples) can change the model's bytes: where it routes to experts."""
    return any(isinstance(module, Experts) or (isinstance(module, Linear) and module.storage is ROUTER) for group in model.layers for module in group.modules)


def _as_stored(model: ModelSpec, derived_bytes: int) -> int:
    """A rank's bytes where the checkpoint's tensors are known to hold more or less than its config says: every rank has its share."""
    if (checkpoint := model.checkpoint) is None:
        return derived_bytes
    return derived_bytes * checkpoint.stored_bytes // checkpoint.derived_bytes


def buffer_bytes(model: ModelSpec, dtype_bits: int = 16, tp: int = 1) -> int:
    """Bytes of the buffers that a rank allocates at load: rotary tables and the like."""
    return sum(tensor_bytes(buffer, tp, dtype_bits) for buffer in model.buffers)
