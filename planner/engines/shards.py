"""What one tensor-parallel rank holds of an axis, a matrix, a module, and of a token's cache.

Sources: vLLM 0.33 model_executor/layers (linear.py, vocab_parallel_embedding.py), v1/kv_cache_interface.py; an undivided model is the rank of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import gcd, prod
from typing import assert_never

from planner.errors import NotDivisibleError
from planner.facts.attention import Attention, ChunkedLocal, CompressedCache, CrossAttention, FullAttention, LatentAttention, RecurrentState, SlidingWindow
from planner.facts.config import CacheLayout, Parallel
from planner.facts.modules import Axis, Experts, Linear, Module, Role, Split, Tensor
from planner.facts.storage import FP32, ROUTER, Cut, Encoding, Kernels, Plane, Storage
from planner.units import ceil_div, round_up

AS_MODEL = 16  # bits that stand for the model's dtype
VOCAB_PADDING = 64  # vocab_parallel_embedding.py:36 DEFAULT_VOCAB_PADDING_SIZE


def axis_size(axis: Axis, tp: int) -> int:
    """Elements of one dimension on one rank. Raises PlannerError where the split is impossible."""
    match axis.split:
        case Split.WHOLE:
            return axis.size
        case Split.TP:
            if axis.size % tp:
                raise NotDivisibleError(f"{axis.size} cannot be divided over {tp} ranks")
            if axis.units % tp:
                raise NotDivisibleError(f"{axis.units} is not divisible by {tp}")
            return axis.size // tp
        case Split.HEADS:
            if axis.units % tp and tp % axis.units:
                raise NotDivisibleError(f"{axis.units} key-value heads and tensor parallel size {tp}: one must divide the other")
            return max(1, axis.units // tp) * (axis.size // axis.units)
        case Split.GROUPS:
            if axis.units % tp and axis.units > 1:
                raise NotDivisibleError("If tensor parallel world size does not divide num_groups, then num_groups must equal 1.")
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


def tensor_bytes(tensor: Tensor, tp: int, dtype_bits: int) -> int:
    """Bytes of a plain parameter on one rank; 16 bits stand for the model's dtype."""
    bits = dtype_bits if tensor.bits == AS_MODEL else tensor.bits
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
    return round_up(rows, plane.rows_multiple) * round_up(width, plane.columns_multiple) * bits // 8 + plane.extra_bytes


def matrix_bytes(storage: Storage, parts: list[int], columns: int, dtype_bits: int) -> int:
    """Bytes of a stored matrix: the sum of its planes."""
    return sum(plane_bytes(plane, parts, columns, dtype_bits) for plane in storage.planes)


def linear_bytes(linear: Linear, tp: int, dtype_bits: int, *, merged_cut: bool = True) -> int:
    """Bytes of a (fused) linear layer on one rank. Raises NotDivisibleError where a quantization group would be cut."""
    if tp == 1 and linear.whole_storage:
        linear = replace(linear, storage=linear.whole_storage)
    columns = axis_size(linear.inputs, tp)
    parts = [axis_size(axis, tp) for axis in linear.outputs]
    if any(axis.split is Split.GROUPS and axis.units % tp for axis in linear.outputs):
        parts = [sum(parts)]  # with a group that is replicated it is no fused layer (mamba_mixer2.py)
    if padding := -sum(parts) % linear.rows_multiple:
        parts.append(padding)  # a part of its own, with scales of its own
    _check_groups(linear.name, linear.storage, columns, sum(parts))
    _check_blocks(linear, tp, columns, parts, merged_cut=merged_cut)
    bias = sum(parts) * dtype_bits // 8 if linear.bias else 0
    return matrix_bytes(linear.storage, parts, columns, dtype_bits) + bias


def _check_groups(name: str, storage: Storage, columns: int, rows: int) -> None:
    if columns % storage.input_multiple:
        raise NotDivisibleError(f"{name}: {columns} inputs a rank are not a multiple of the quantization group {storage.input_multiple}")
    if rows % storage.output_multiple:
        raise NotDivisibleError(f"{name}: {rows} outputs a rank are not a multiple of {storage.output_multiple}")


def _check_blocks(linear: Linear, tp: int, columns: int, parts: list[int], *, merged_cut: bool) -> None:
    """Blocks that share a scale are cut neither by ranks nor, but for the last part's, by the parts of a fused layer (fp8_utils.py validate_fp8_block_shape)."""
    storage = linear.storage
    if (block := storage.block) is None or storage.cut is Cut.ANYWHERE:
        return
    rows, width = block.row_block, max(1, block.column_block)
    merged = len(parts) > 1
    if merged and merged_cut and storage.cut is Cut.EXPERTS and any(part % rows for part in parts):
        return
    if tp > 1 and columns < linear.inputs.size and columns % width:
        raise NotDivisibleError(f"{linear.name}: Weight input_size_per_partition = {columns} is not divisible by weight quantization block_k = {width}")
    split = tp > 1 and any(axis.split is not Split.WHOLE for axis in linear.outputs)
    for part in parts if split else parts[:-1]:
        if part % rows:
            raise NotDivisibleError(f"{linear.name}: Weight output_partition_size = {part} is not divisible by weight quantization block_n = {rows}")


def is_shared_expert(linear: Linear) -> bool:
    """Whether a matrix is one of the experts that see every token; their gate is none."""
    return linear.as_shared_expert or ("shared_expert" in linear.name and linear.role is not Role.ROUTER)


_DENSE_MLP = (Role.GATE_UP, Role.DOWN)
_TILE = 128  # of Marlin's experts


def local_experts(experts: int, ranks: int) -> int:
    """Experts on the fullest rank of an expert-parallel group (fused_moe/layer.py determine_expert_map)."""
    return ceil_div(experts, ranks)


def experts_bytes(bank: Experts, parallel: Parallel, dtype_bits: int) -> int:
    """Bytes of a layer's routed experts on one rank: sliced over the ranks of all engines, or spread whole over them by expert parallelism.

    Source: fused_moe/config.py FusedMoEParallelConfig.make; the first ranks hold the remainder, and copies are spread as experts are.
    """
    ranks = parallel.expert_ranks
    spread = parallel.enable_expert_parallel and ranks > 1
    count = local_experts(bank.experts + parallel.redundant_experts, ranks) if spread else bank.experts
    width = bank.intermediate if spread or ranks == 1 else max(bank.minimum_width, axis_size(Axis(bank.intermediate, Split.TP), ranks))
    hidden = bank.hidden
    match bank.storage.kernels:
        case Kernels.MXFP4:
            width, hidden = round_up(width, parallel.expert_width_multiple), round_up(hidden, parallel.expert_hidden_multiple)
        case Kernels.MXFP4_MARLIN:
            width, hidden = round_up(width, max(128, parallel.expert_width_multiple)), round_up(hidden, max(256, parallel.expert_hidden_multiple))
        case Kernels.PLAIN:
            width = round_up(width, parallel.ungated_width_multiple) if bank.shards == 1 else width
        case Kernels.AS_STORED:
            pass
        case _:
            assert_never(bank.storage.kernels)
    storage = _refined(bank, width, hidden, sliced=ranks > 1 and not spread, finer=parallel.experts_refined)
    storage = _narrowed(bank, storage, width)
    _check_groups(bank.name, storage, width, width)
    w13 = matrix_bytes(storage, [width] * bank.shards, hidden, dtype_bits)
    w2 = matrix_bytes(storage, [hidden], width, dtype_bits)
    bias = (bank.shards * width + hidden) * (dtype_bits if bank.bias_bits == 16 else bank.bias_bits) // 8 if bank.bias else 0
    return count * (w13 + w2 + bias)


def _narrowed(bank: Experts, storage: Storage, width: int) -> Storage:
    """AWQ's and GPTQ's experts that Marlin's kernel does not take: another layout, without the zero points of GPTQ and of a symmetric AWQ (moe_wna16.py).

    It takes a hidden size of whole tiles and slices of whole groups (marlin_utils.py check_moe_marlin_supports_config); groups that a slice cuts are
    halved until it holds whole ones.
    """
    group = storage.input_multiple
    if storage.encoding not in (Encoding.AWQ, Encoding.GPTQ) or (width % group == 0 and bank.hidden % _TILE == 0):
        return storage
    if not storage.planes[1].column_block:
        raise NotDivisibleError(
            f"{bank.name}: a hidden size of {bank.hidden} is no multiple of {_TILE}, and experts with one scale a column have no other kernel"
        )
    while width % group or bank.hidden % group:
        group //= 2
    if group < 32:
        raise NotDivisibleError(f"{bank.name}: a width of {width} a rank holds no groups of 32 or more")
    kept = storage.planes[: 3 if storage.encoding is Encoding.AWQ and not storage.symmetric else 2]
    planes = (kept[0], *(replace(plane, column_block=group) for plane in kept[1:]))
    return replace(storage, planes=planes, input_multiple=group, output_multiple=1)


def _refined(bank: Experts, width: int, hidden: int, *, sliced: bool, finer: bool) -> Storage:
    """Block scales of a slice that cuts blocks are refined to the largest common block, where that is possible (fused_moe/oracle/fp8.py:292)."""
    storage = bank.storage
    block = storage.block
    if block is None or storage.cut is Cut.ANYWHERE or (width % block.row_block == 0 and (not sliced or width % block.column_block == 0)):
        return storage
    size = gcd(block.row_block, block.column_block, width, hidden)
    if size < 32 or not finer or storage.cut is Cut.NOWHERE:
        what = "The output_size of gate's and up's weight" if width % block.row_block else "The input_size of down's weight"
        which = f"block_n = {block.row_block}" if width % block.row_block else f"block_k = {block.column_block}"
        raise NotDivisibleError(f"{bank.name}: {what} = {width} is not divisible by weight quantization {which}")
    planes = tuple(Plane(plane.bits, size, size) if plane is block else plane for plane in storage.planes)
    return replace(storage, planes=planes)


def module_bytes(module: Module, parallel: Parallel, dtype_bits: int = 16) -> int:
    """Bytes of any module on one rank."""
    match module:
        case Linear(storage=storage) if storage is ROUTER and parallel.wide_router:
            return linear_bytes(replace(module, storage=FP32), parallel.tensor_parallel_size, dtype_bits)
        case Linear() if (parallel.whole_shared_experts and is_shared_expert(module)) or (parallel.whole_dense_mlps and module.role in _DENSE_MLP):
            return linear_bytes(module, 1, dtype_bits)
        case Linear():
            return linear_bytes(module, parallel.tensor_parallel_size, dtype_bits, merged_cut=parallel.merged_cut)
        case Experts():
            return experts_bytes(module, parallel, dtype_bits)
        case Tensor():
            return tensor_bytes(module, parallel.tensor_parallel_size, dtype_bits)
        case _:
            assert_never(module)


def modules_bytes(modules: Iterable[Module], parallel: Parallel, dtype_bits: int = 16) -> int:
    """Bytes of several modules on one rank."""
    return sum(module_bytes(module, parallel, dtype_bits) for module in modules)


def token_bytes(attention: Attention, tp: int, layout: CacheLayout) -> int:
    """Bytes of one token of one layer on one rank."""
    match attention:
        case FullAttention() | SlidingWindow() | ChunkedLocal() | CrossAttention():
            heads = _local_heads(attention.kv_heads, tp)
            if layout.slot is not None:
                return heads * layout.slot.bytes_of(attention.head_dim)
            return heads * ((attention.head_dim + attention.head_dim_v) * layout.bits // 8 + layout.bytes_per_token_head)
        case LatentAttention(index_dim=index_dim) if index_dim:
            return index_dim
        case LatentAttention():
            return layout.latent_bytes or (attention.latent_dim + attention.rope_dim) * layout.bits // 8
        case CompressedCache() | RecurrentState():
            return 0
        case _:
            assert_never(attention)


def _local_heads(kv_heads: int, tp: int) -> int:
    """KV heads of one rank; past their number they are replicated (config/model.py get_num_kv_heads)."""
    return max(1, kv_heads // tp)


def state_bytes(state: RecurrentState, tp: int, layout: CacheLayout) -> int:
    """Bytes of one recurrent state on one rank (mamba_utils.py: without a width of its own the SSM's is the convolution's)."""
    return sum(tensor_bytes(_as_asked(tensor, layout), tp, layout.dtype_bits) for tensor in state.tensors)


def _as_asked(tensor: Tensor, layout: CacheLayout) -> Tensor:
    if tensor.name == "ssm" and (layout.ssm_bits or (layout.conv_bits and tensor.bits == AS_MODEL)):
        return _as_wide(tensor, layout.ssm_bits or layout.conv_bits)
    return _as_wide(tensor, layout.conv_bits) if tensor.name == "conv" and layout.conv_bits else tensor


def _as_wide(tensor: Tensor, bits: int) -> Tensor:
    """The same of so many bits, whatever the model's dtype."""
    return replace(tensor, axes=(*tensor.axes, Axis(bits // 8)), bits=8)
