"""Speed beside memory in the grid: the roofline of planner/speed/roofline.py over arrays of servers, one user, the usual prompt and answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import numpy as np

from planner.arrays import Array, FloatArray
from planner.engines import first_engine
from planner.engines.vllm import layouts, rules
from planner.engines.vllm.weights import kernels_matter
from planner.engines.work import cache_reads, weights
from planner.facts.config import Parallel
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass
from planner.facts.speed import OUTPUT, PROMPT
from planner.facts.storage import Arithmetic
from planner.grid.servers import KV_DTYPES, Machines, Servers
from planner.speed.constants import Rates, rates
from planner.speed.links import all_reduce
from planner.speed.roofline import load, served
from planner.speed.work import CacheRead, Peak, Shape, Weights, Work, arithmetic, is_narrow, peak, shape_of


@dataclass(frozen=True, slots=True)
class _Row:
    """What decides the speed of one server."""

    weights: Weights
    reads: tuple[CacheRead, ...]
    peak: Peak
    rates: Rates
    shape: Shape
    tensor_parallel_size: int


def speeds(model: ModelSpec, planned: Servers, machines: Machines) -> Array:
    """Tokens a second of one user alone, expected, an element each server; NaN where `estimate` says why there is none."""
    result = np.full(len(planned.gpu), np.nan)
    if model.pooling or model.is_encoder:
        return result
    known = [index for index, gpu in enumerate(machines.gpus) if gpu.bandwidth_bytes_per_s]
    where = np.flatnonzero((planned.pipeline_parallel_size == 1) & np.isin(planned.gpu, known))
    if not len(where):
        return result
    keys = list(zip(planned.gpu[where].tolist(), planned.tensor_parallel_size[where].tolist(), planned.kv_cache_dtype[where].tolist(), strict=True))
    rows = _rows(model, machines, set(keys))
    picked = [rows[key] for key in keys]
    work = _work(model, picked)
    alone = load(work, _column([1]), _column([PROMPT]), _column([OUTPUT]))
    result[where] = 1 / served(work, _rates([row.rates for row in picked]), alone).time_per_output_token_s
    return result


def _rows(model: ModelSpec, machines: Machines, keys: set[tuple[int, int, int]]) -> dict[tuple[int, int, int], _Row]:
    held: dict[tuple[Parallel, int, int], Weights] = {}
    read: dict[tuple[int, int, int], tuple[CacheRead, ...]] = {}
    kinds: dict[tuple[tuple[str, ...], int], tuple[Arithmetic, bool]] = {}
    shapes = {kind: shape_of(model, kind) for kind in Arithmetic}
    rows = {}
    rounded, moe, narrow = kernels_matter(model), shapes[Arithmetic.BF16].moe_layers > 0, is_narrow(model)
    for representative, indices in machines.kinds:
        bits: int | None = None
        here = set(indices)
        for index, tp, dtype in sorted(key for key in keys if key[0] in here):
            gpu = machines.gpus[index]
            bits = rules.dtype_bits(model, representative, "auto") if bits is None else bits
            parallel = rules.with_kernels(Parallel(), representative) if rounded else Parallel()
            if (parallel, bits, tp) not in held:
                held[parallel, bits, tp] = weights(model, replace(parallel, tensor_parallel_size=tp), bits)
            if (representative.capability, dtype, tp) not in read:
                layout = layouts.cache_layout(model, representative, KV_DTYPES[dtype], dtype_bits=bits)
                read[representative.capability, dtype, tp] = cache_reads(model, tp, layout)
            if (peaks := tuple(name for name, _ in gpu.dense_flops), gpu.capability) not in kinds:
                kinds[peaks, gpu.capability] = arithmetic(model, gpu)
            kind = kinds[peaks, gpu.capability]
            best, rate = _pace(gpu, kind, tp, moe=moe, narrow=narrow)
            rows[index, tp, dtype] = _Row(held[parallel, bits, tp], read[representative.capability, dtype, tp], best, rate, shapes[kind[0]], tp)
    return rows


@cache
def _pace(gpu: GpuSpec, kind: tuple[Arithmetic, bool], tp: int, *, moe: bool, narrow: bool) -> tuple[Peak, Rates]:
    """A GPU's peaks and what is reached of them: the same for all models that compute alike."""
    best = peak(gpu, kind[0], all_reduce(gpu, tp))
    if best is None:
        raise ValueError(f"{gpu.name} has no known bandwidth")
    nothing = Weights(dense_bytes=0, head_bytes=0, dense_macs=0, head_macs=0)
    shape = Shape(layers=0, modules=0, moe_layers=int(moe), experts=0, experts_per_token=0, hidden_size=0)
    work = Work(engine=first_engine().name, weights=nothing, reads=(), peak=best, shape=shape, tensor_parallel_size=tp, weight_only=kind[1], narrow=narrow)
    return best, rates(work)


def _column(values: Iterable[float]) -> FloatArray:
    return np.array(list(values), dtype=np.float64)


def _work(model: ModelSpec, rows: list[_Row]) -> Work[FloatArray]:
    """The work of all rows, an element each."""
    return Work(
        engine=first_engine().name,
        weights=_weights([row.weights for row in rows]),
        reads=tuple(_read([row.reads[number] for row in rows]) for number in range(len(rows[0].reads))),
        peak=_peak([row.peak for row in rows]),
        shape=_shape([row.shape for row in rows]),
        tensor_parallel_size=_column(row.tensor_parallel_size for row in rows),
    )


def _weights(rows: list[Weights]) -> Weights[FloatArray]:
    return Weights(
        dense_bytes=_column(row.dense_bytes for row in rows),
        head_bytes=_column(row.head_bytes for row in rows),
        expert_bytes=_column(row.expert_bytes for row in rows),
        dense_macs=_column(row.dense_macs for row in rows),
        head_macs=_column(row.head_macs for row in rows),
        expert_macs=_column(row.expert_macs for row in rows),
    )


def _read(rows: list[CacheRead]) -> CacheRead[FloatArray]:
    return CacheRead(
        bytes_per_token=_column(row.bytes_per_token for row in rows),
        flops_per_pair=_column(row.flops_per_pair for row in rows),
        window=rows[0].window,
        fixed_bytes=_column(row.fixed_bytes for row in rows),
    )


def _peak(rows: list[Peak]) -> Peak[FloatArray]:
    """What a step asks of the peaks; which constants a GPU has, its row's rates say already."""
    return Peak(
        gpu="",
        kind="",
        bandwidth_bytes_per_s=_column(row.bandwidth_bytes_per_s for row in rows),
        flops=_column(row.flops for row in rows),
        flops_16bit=_column(row.flops_16bit for row in rows),
        low_precision="",
        hbm=False,
        link_bytes_per_s=_column(row.link_bytes_per_s for row in rows),
        link_start_s=_column(row.link_start_s for row in rows),
        flagged=_column(row.flagged for row in rows),
    )


def _shape(rows: list[Shape]) -> Shape[FloatArray]:
    """The counts of one model: arrays of one number, but for its kernels, which depend on the arithmetic."""
    same = rows[0]
    return Shape(
        layers=_column([same.layers]),
        modules=_column(row.modules for row in rows),
        moe_layers=_column([same.moe_layers]),
        experts=_column([same.experts]),
        experts_per_token=_column([same.experts_per_token]),
        hidden_size=_column([same.hidden_size]),
        norm_layers=_column([same.norm_layers]),
        recurrent_layers=_column([same.recurrent_layers]),
        index_layers=_column([same.index_layers]),
    )


def _rates(rows: list[Rates]) -> Rates[FloatArray]:
    return Rates(
        bandwidth_share=_column(row.bandwidth_share for row in rows),
        cache_share=_column(row.cache_share for row in rows),
        decode_share=_column(row.decode_share for row in rows),
        prefill_share=_column(row.prefill_share for row in rows),
        attention_share=_column(row.attention_share for row in rows),
        expert_spread=_column(row.expert_spread for row in rows),
        layer_s=_column(row.layer_s for row in rows),
        module_s=_column(row.module_s for row in rows),
        moe_layer_s=_column(row.moe_layer_s for row in rows),
        recurrent_layer_s=_column(row.recurrent_layer_s for row in rows),
        index_layer_s=_column(row.index_layer_s for row in rows),
        stage_s=_column(row.stage_s for row in rows),
        sequence_s=_column(row.sequence_s for row in rows),
        all_reduce_s=_column(row.all_reduce_s for row in rows),
        hop_s=_column(row.hop_s for row in rows),
        link_share=_column(row.link_share for row in rows),
        host_s=_column(row.host_s for row in rows),
        first_token_s=_column(row.first_token_s for row in rows),
        steps_before_first=_column(row.steps_before_first for row in rows),
        queue=_column(row.queue for row in rows),
        queue_load=_column(row.queue_load for row in rows),
    )
