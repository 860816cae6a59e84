"""Speed beside memory in the grid: the roofline of planner/speed/roofline.py over arrays of servers, one user, the usual prompt and answer."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np

from planner.engines.vllm import rules
from planner.engines.vllm.pace import PCIE4_BYTES_PER_S
from planner.engines.vllm.weights import kernels_matter
from planner.engines.work import cache_reads, weights
from planner.facts.config import Parallel
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.grid.servers import KV_DTYPES, Array, Machines, Servers
from planner.speed.estimate import ANSWER, PROMPT
from planner.speed.roofline import Rates, fitted, load, rates, served
from planner.speed.work import CacheRead, Peak, Weights, Work, arithmetic, peak, shape_of


@dataclass(frozen=True, slots=True)
class _Row:
    """What decides the speed of one server."""

    weights: Weights
    reads: tuple[CacheRead, ...]
    peak: Peak
    rates: Rates
    tensor_parallel_size: int


def speeds(model: ModelSpec, found: Servers, machines: Machines) -> Array:
    """Tokens a second of one user alone, expected, an element each server; NaN where `estimate` says why there is none."""
    result = np.full(len(found.gpu), np.nan)
    if model.pooling or model.is_encoder:
        return result
    known = [index for index, gpu in enumerate(machines.gpus) if gpu.bandwidth_bytes_per_s]
    where = np.flatnonzero((found.pipeline_parallel_size == 1) & np.isin(found.gpu, known))
    if not len(where):
        return result
    keys = list(zip(found.gpu[where].tolist(), found.tensor_parallel_size[where].tolist(), found.kv_cache_dtype[where].tolist(), strict=True))
    rows = _rows(model, machines, set(keys))
    picked = [rows[key] for key in keys]
    work = _stacked(model, picked)
    rate = Rates(**{field.name: np.array([getattr(row.rates, field.name) for row in picked]) for field in fields(Rates)})
    one = served(work, rate, load(work, 1.0, float(PROMPT), float(ANSWER)))
    result[where] = 1 / one.time_per_output_token_s
    return result


def _rows(model: ModelSpec, machines: Machines, keys: set[tuple[int, int, int]]) -> dict[tuple[int, int, int], _Row]:
    held: dict[tuple[Parallel, int, int], Weights] = {}
    read: dict[tuple[int, int, int], tuple[CacheRead, ...]] = {}
    kinds: dict[tuple[tuple[str, ...], int], tuple[str, bool]] = {}
    rows = {}
    rounded, moe = kernels_matter(model), shape_of(model)["moe_layers"] > 0
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
                layout = rules.cache_layout(model, representative, KV_DTYPES[dtype], dtype_bits=bits)
                read[representative.capability, dtype, tp] = cache_reads(model, tp, layout)
            if (peaks := tuple(name for name, _ in gpu.dense_flops), gpu.capability) not in kinds:
                kinds[peaks, gpu.capability] = arithmetic(model, gpu)
            best, rate = _pace(gpu, kinds[peaks, gpu.capability], min(tp, 3), moe=moe)
            rows[index, tp, dtype] = _Row(held[parallel, bits, tp], read[representative.capability, dtype, tp], best, rate, tp)
    return rows


@cache
def _pace(gpu: GpuSpec, kind: tuple[str, bool], ranks: int, *, moe: bool) -> tuple[Peak, Rates]:
    """A GPU's peaks and what is reached of them: the same for all models that compute alike, and for all numbers of ranks above two."""
    best = peak(gpu, kind[0], "nvlink" if gpu.nvlink else "pcie4", gpu.link_bytes_per_s or PCIE4_BYTES_PER_S)
    if best is None:
        raise ValueError(f"{gpu.name} has no known bandwidth")
    nothing = Weights(dense_bytes=0, head_bytes=0, dense_macs=0, head_macs=0)
    shape: dict[str, Any] = dict.fromkeys(("layers", "modules", "experts", "experts_per_token", "hidden_size"), 0) | {"moe_layers": int(moe)}
    work = Work(engine="vllm", weights=nothing, reads=(), peak=best, tensor_parallel_size=ranks, weight_only=kind[1], **shape)
    return best, rates(work, fitted()["constants"])


def _stacked(model: ModelSpec, rows: list[_Row]) -> Work:
    """The work of all rows, numbers as arrays."""

    def column(of: str, name: str) -> Any:
        return np.array([getattr(getattr(row, of), name) for row in rows], dtype=np.float64)

    first = rows[0]
    held: Any = {field.name: column("weights", field.name) for field in fields(Weights)}
    best: Any = {name: column("peak", name) for name in ("bandwidth_bytes_per_s", "flops", "flops_16bit", "link_bytes_per_s")}
    reads = []
    for number, read in enumerate(first.reads):
        varying: Any = {name: np.array([getattr(row.reads[number], name) for row in rows]) for name in ("bytes_per_token", "flops_per_pair", "fixed_bytes")}
        reads.append(replace(read, **varying))
    shape: Any = shape_of(model) | {"tensor_parallel_size": np.array([row.tensor_parallel_size for row in rows])}
    return Work(engine="vllm", weights=Weights(**held), reads=tuple(reads), peak=replace(first.peak, **best), **shape)
