"""What lies on a GPU once a model is loaded: kernels repack, widen and copy what vLLM's classes created.

Sources: process_weights_after_loading of vLLM 0.33's methods and kernels (kernels/linear/, quantization/utils/marlin_utils*.py and mxfp4_utils.py,
fused_moe/oracle/, attention/mla_attention.py), run without a GPU where that is possible (judge/); what older releases do otherwise is in versions.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from planner.architecture.formats import FP8_MATRIX
from planner.engines.vllm.settings import Placing
from planner.engines.vllm.versions import VERSIONS
from planner.engines.vllm.weights import stage_weights
from planner.errors import UnsupportedError
from planner.facts.config import Parallel
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts, Linear, Module, Tensor
from planner.facts.record import Same, dataclass
from planner.facts.storage import BF16, Encoding, Plane, Storage
from planner.units import GIB

HOPPER_SCALE_ROWS = 256  # triton_kernels' hopper_scale.py with the 8 warps of mxfp4_utils.py
NVFP4_SCALE_ROWS, NVFP4_SCALE_COLUMNS = 128, 4  # a tile of swizzled scales (nvfp4_utils.py swizzle_blockscale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """What the kernels of a GPU and a release change: nothing, where no field says so."""

    marlin_fp8: bool = False  # without FP8 arithmetic: scales in 16 bits, one for each row and block of columns
    block_scales_by_row: bool = False  # DeepGEMM on 10.x: a byte for each row and block of columns
    zeros_dropped: bool = False  # Marlin keeps no zero points of GPTQ
    awq_zeros_widened: bool = False  # Machete multiplies them with the scales
    zeros_widened: bool = False
    nvfp4_tiles: bool = False
    mxfp4_scales: tuple[Plane, ...] = ()  # of gpt-oss's experts, where they are not as created
    wide_bias: bool = False  # of gpt-oss's experts
    absorbs: bool = False  # MLA keeps its up-projection a second time, in 16 bits, where it is quantized
    is_derived: bool = False  # read, not run: no judge has these kernels


def loading(gpu: GpuSpec, version: str) -> Loading:
    """What becomes of quantized weights on a GPU."""
    if gpu.vendor == "amd":
        return Loading(absorbs=True, is_derived=True)
    release, major = VERSIONS[version], gpu.capability // 10
    hopper, blackwell = major == 9, major == 10
    scales: tuple[Plane, ...] = ()
    if hopper and release.triton_mxfp4:
        swizzled = Plane(8, 1, 32, rows_multiple=HOPPER_SCALE_ROWS, columns_multiple=release.mxfp4_scale_columns)
        scales = (Plane(8, 1, 32), swizzled) if release.mxfp4_scales_kept else (swizzled,)
    return Loading(
        marlin_fp8=gpu.capability < 89,
        block_scales_by_row=blackwell,
        zeros_dropped=not hopper,
        awq_zeros_widened=hopper and release.awq_by_kernel,
        zeros_widened=hopper,
        nvfp4_tiles=gpu.capability >= 100,
        mxfp4_scales=scales,
        wide_bias=bool(scales) or blackwell,
        absorbs=True,
        is_derived=blackwell,
    )


def felt_by(model: ModelSpec, kernels: Loading) -> Loading:
    """Of what the kernels change, what this model has: GPUs that differ in nothing else treat it alike."""
    if model.quantization is None:
        return Loading()
    modules = (module for part in (*(group.modules for group in model.layers), model.first, model.last, model.every) for module in part)
    has = {module.storage.encoding for module in modules if isinstance(module, Linear | Experts)}
    fp8, mxfp4 = Encoding.FP8 in has, Encoding.MXFP4 in has
    return Loading(
        marlin_fp8=kernels.marlin_fp8 and fp8,
        block_scales_by_row=kernels.block_scales_by_row and fp8,
        zeros_dropped=kernels.zeros_dropped and Encoding.GPTQ in has,
        awq_zeros_widened=kernels.awq_zeros_widened and Encoding.AWQ in has,
        zeros_widened=kernels.zeros_widened and Encoding.PACKED in has,
        nvfp4_tiles=kernels.nvfp4_tiles and Encoding.NVFP4 in has,
        mxfp4_scales=kernels.mxfp4_scales if mxfp4 else (),
        wide_bias=kernels.wide_bias and mxfp4,
        absorbs=kernels.absorbs,
    )


def widest_bytes(model: ModelSpec, gpu: GpuSpec, placing: Placing, parallel: Parallel, dtype_bits: int) -> int:
    """What a rank holds at most while `--quantization` makes less of its weights; 0 where that is no more than afterwards.

    Raises UnsupportedError where it is more than the GPU has.
    """
    modules = (module for group in model.layers for module in group.modules)
    late = VERSIONS[placing.vllm_version].quantizes_late and placing.offload is None
    if not late or not any(isinstance(module, Linear | Experts) and module.storage == FP8_MATRIX for module in modules):
        return 0

    def wide(part: tuple[Module, ...]) -> tuple[Module, ...]:
        return tuple(replace(module, storage=BF16) if isinstance(module, Linear | Experts) else module for module in part)

    groups = tuple(replace(group, modules=wide(group.modules)) for group in model.layers)
    widest = max(stage_weights(replace(model, layers=groups, tower=wide(model.tower), every=wide(model.every)), parallel, dtype_bits))
    if widest > gpu.cuda_total_bytes:
        told = f"{widest / GIB:.2f} GiB on each GPU, which has {gpu.cuda_total_bytes / GIB:.2f}"
        raise UnsupportedError(f"vLLM {placing.vllm_version} holds the weights in 16 bits before it quantizes them: {told}")
    return widest


def loaded(model: ModelSpec, kernels: Loading) -> ModelSpec:
    """The model as it lies there; itself where it is not quantized."""
    return model if model.quantization is None else _loaded(Same(model), kernels)


@lru_cache(maxsize=256)
def _loaded(same: Same[ModelSpec], kernels: Loading) -> ModelSpec:
    model = same.thing
    groups = tuple(replace(group, modules=_modules(group.modules, kernels, absorbs=kernels.absorbs and model.is_latent)) for group in model.layers)
    every, first, last, copy = (_modules(part, kernels) for part in (model.every, model.first, model.last, model.tied_copy))
    return replace(model, layers=groups, every=every, first=first, last=last, tied_copy=copy)


def _modules(modules: tuple[Module, ...], kernels: Loading, *, absorbs: bool = False) -> tuple[Module, ...]:
    result: list[Module] = []
    for module in modules:
        result.append(_module(module, kernels))
        if absorbs and isinstance(module, Linear) and module.storage.is_quantized and module.name.endswith("kv_b_proj"):
            result.append(Tensor(name="W_UK, W_UV", axes=(module.outputs[0], module.inputs)))
    return tuple(result)


def _module(module: Module, kernels: Loading) -> Module:
    match module:
        case Linear():
            return replace(module, storage=_linear(module.storage, kernels))
        case Experts(storage=storage) if storage.encoding is Encoding.MXFP4:
            held = replace(storage, planes=(storage.planes[0], *kernels.mxfp4_scales)) if kernels.mxfp4_scales else storage
            return replace(module, storage=held, bias_bits=32 if kernels.wide_bias else module.bias_bits)
        case Experts():
            return replace(module, storage=_experts(module.storage, kernels))
        case Tensor():
            return module


def _linear(storage: Storage, kernels: Loading) -> Storage:
    weight, *others = storage.planes
    match storage.encoding:
        case Encoding.FP8 if kernels.marlin_fp8:
            return _marlin_fp8(storage)
        case Encoding.FP8 if kernels.block_scales_by_row and (block := storage.block) and block.bits == 32:
            return replace(storage, planes=(weight, Plane(8, 1, block.column_block)))
        case Encoding.GPTQ if kernels.zeros_dropped:
            return replace(storage, planes=(weight, others[0]))
        case Encoding.AWQ if kernels.awq_zeros_widened:
            return replace(storage, planes=(weight, others[0], replace(others[1], bits=16)))
        case Encoding.PACKED if kernels.zeros_widened and len(others) > 1:
            return replace(storage, planes=(weight, others[0], replace(others[1], bits=16)))
        case Encoding.NVFP4 if kernels.nvfp4_tiles:
            tiles = replace(others[0], rows_multiple=NVFP4_SCALE_ROWS, columns_multiple=NVFP4_SCALE_COLUMNS)
            return replace(storage, planes=(weight, tiles, *others[1:]))
        case _:
            return storage


def _experts(storage: Storage, kernels: Loading) -> Storage:
    if storage.encoding is Encoding.FP8 and kernels.marlin_fp8:
        return _marlin_fp8(storage)
    if storage.encoding is Encoding.GPTQ:  # biases are created for every model and dropped where the checkpoint has none
        return replace(storage, planes=storage.planes[:3])
    return storage


def _marlin_fp8(storage: Storage) -> Storage:
    """A 16-bit scale for each row and block of columns, or for each row (marlin_utils_fp8.py)."""
    weight, scale, *_ = storage.planes
    columns = scale.column_block if scale.row_block > 1 else 0
    return replace(storage, planes=(weight, Plane(16, 1, columns)))
