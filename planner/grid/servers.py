"""Every server of a model on many machines at once: the ledger of planner/engines/vllm/memory.py over NumPy arrays.

A machine is a GPU and how many of them; a server one way to use all of them (`search.splits`) with one cache dtype, at the settings that
`search.candidates` begins with. Servers are rows, contexts columns. `tests/grid/test_grid.py` holds every element to the scalar answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from planner.arrays import Array, FloatArray
from planner.engines.vllm import layouts, rules
from planner.engines.vllm.choice import Request, safe_utilization
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.device import Device, device
from planner.engines.vllm.kvcache import CachePlan, block_bytes, cache_groups, cache_specs
from planner.engines.vllm.ledger import MemoryBreakdown
from planner.engines.vllm.loaded import Loading, felt_by, loaded, loading
from planner.engines.vllm.lora import Lora
from planner.engines.vllm.memory import Stage, ledger, without
from planner.engines.vllm.offload import with_tables
from planner.engines.vllm.overhead import Shapes
from planner.engines.vllm.search import FEWEST_SEQS, NARROW_CACHE
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.splits import heads_or_layers, splits
from planner.engines.vllm.versions import DEFAULT_VERSION, VERSIONS
from planner.engines.vllm.weights import Parts, buffer_bytes, kernels_matter, part_bytes, stage_layers, stage_totals
from planner.engines.work import is_table
from planner.errors import PlannerError, UnsupportedError
from planner.facts.config import CacheLayout, Parallel
from planner.facts.hardware import GpuGroup, GpuSpec, Host
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass
from planner.facts.verdict import rank_of
from planner.grid import devices

KV_DTYPES = ("auto", NARROW_CACHE)
BEYOND = -1  # beside the ranks of verdicts: a context that the model does not have


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A row a GPU, a column a tensor-parallel size less one."""

    device: Device[Array]
    gpu_memory_utilization: FloatArray
    max_num_batched_tokens: Array

    def of(self, gpu: Array, tp: Array) -> _Table:
        """One row and one column of each server, as a column."""

        def picked(values: Array) -> Array:
            column: Array = values[gpu, tp - 1][:, None]
            return column

        share, batched = picked(self.gpu_memory_utilization), picked(self.max_num_batched_tokens)
        return _Table(device=devices.picked(self.device, gpu, tp - 1), gpu_memory_utilization=share, max_num_batched_tokens=batched)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """The settings that a ledger asks for (`LedgerSettings`), an element each server; what is not said here is nobody's choice."""

    tensor_parallel_size: Array
    pipeline_parallel_size: Array
    gpu_memory_utilization: FloatArray
    max_model_len: Array
    max_num_seqs: int
    max_num_batched_tokens: Array
    data_parallel_size: int = 1
    kv_cache_memory_bytes: int | None = None
    enforce_eager: bool = False
    skip_mm_profiling: bool = False
    enable_sleep_mode: bool = False
    max_cudagraph_capture_size: int | None = None
    times_kernels: bool = True
    lora: Lora | None = None
    async_scheduling: bool | None = None
    estimates_graphs: bool | None = None
    second_runner: bool | None = None
    num_gpu_blocks_override: int | None = None
    num_speculative_tokens: int = 0
    mm_ipc_gpu_memory_gb: float = 0.0
    vllm_version: str = DEFAULT_VERSION


@dataclass(frozen=True)
class Machines:
    """GPUs, each alone and with others of its kind; `users` sets the sequences, as `plan --users` does."""

    gpus: tuple[GpuSpec, ...]
    counts: tuple[int, ...]
    host: Host = Host.SERVER
    users: int | None = None

    @cached_property
    def kinds(self) -> list[tuple[GpuSpec, list[int]]]:
        """GPUs for which vLLM decides alike, by one of them: its rules ask for vendor, compute capability and instruction set only."""
        alike: dict[tuple[str, int, str], list[int]] = {}
        for index, gpu in enumerate(self.gpus):
            alike.setdefault((gpu.vendor, gpu.capability, gpu.gfx), []).append(index)
        return [(self.gpus[indices[0]], indices) for indices in alike.values()]

    @cached_property
    def splits(self) -> list[tuple[int, int]]:
        """Tensor and pipeline sizes: all ways to use all GPUs of a machine."""
        return [(tp, count // tp) for count in self.counts for tp in range(count, 0, -1) if count % tp == 0]

    @cached_property
    def table(self) -> _Table:
        """What the ledger asks of each GPU at each tensor-parallel size."""
        groups = [[GpuGroup(gpu=gpu, count=tp, host=self.host) for tp in range(1, max(self.counts) + 1)] for gpu in self.gpus]
        seen = [[device(group, ServeConfig(tensor_parallel_size=group.count, max_num_seqs=self.max_num_seqs)) for group in row] for row in groups]
        return _Table(
            device=devices.stacked(seen),
            gpu_memory_utilization=np.array([[safe_utilization(group, group.count) for group in row] for row in groups]),
            max_num_batched_tokens=np.array(
                [[rules.default_batches(group.gpu, group.total_bytes, VERSIONS[DEFAULT_VERSION])[0] for group in row] for row in groups]
            ),
        )

    @property
    def max_num_seqs(self) -> int:
        """Sequences of every server, as `search.candidates` sets them."""
        return self.users or FEWEST_SEQS


@dataclass(frozen=True, slots=True)
class Servers:
    """Servers of one model, an element each: which GPU (an index), sizes, cache dtype (an index); their ledgers at `contexts`, a column each."""

    model: str
    gpu: Array
    tensor_parallel_size: Array
    pipeline_parallel_size: Array
    kv_cache_dtype: Array
    contexts: Array
    expected: MemoryBreakdown[Array]
    conservative: MemoryBreakdown[Array]
    verdict: Array  # ranks, servers x contexts

    @property
    def world_size(self) -> Array:
        """GPUs of each server."""
        return self.tensor_parallel_size * self.pipeline_parallel_size

    def at_once(self, outlook: str) -> Array:
        """Requests at once, servers x contexts; an encoder's are its sequences."""
        ledger: MemoryBreakdown = getattr(self, outlook)
        return np.broadcast_to(np.asarray(ledger.max_concurrency, dtype=np.float64), self.verdict.shape)

    @property
    def users(self) -> Array:
        """Whole requests that are surely admitted at once, servers x contexts."""
        return np.broadcast_to(self.conservative.admitted_requests, self.verdict.shape)

    @property
    def settings(self) -> int:
        """Pairs of a server and a context that the model has."""
        return int((self.verdict != BEYOND).sum())


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a model is on GPUs that treat it alike: bits of its parameters, what kernels round, the layout of one cache dtype."""

    dtype_bits: int
    parallel: Parallel
    kernels: Loading
    kv_cache_dtype: int
    layout: CacheLayout
    tables_away: bool = False  # n-gram tables lie in main memory


def _kinds(model: ModelSpec, machines: Machines) -> dict[_Kind, list[int]]:
    """The GPUs of each kind; those that refuse the model or the cache dtype are in none."""
    dtypes = KV_DTYPES if layouts.effective_kv_dtype(model, "auto") == "auto" else KV_DTYPES[:1]
    rounded, tables = kernels_matter(model), any(is_table(module) for group in model.layers for module in group.modules)
    kinds: dict[_Kind, list[int]] = {}
    for gpu, indices in machines.kinds:
        parallel = rules.with_kernels(Parallel(), gpu) if rounded else Parallel()
        kernels = felt_by(model, loading(gpu, DEFAULT_VERSION))
        for number, dtype in enumerate(dtypes):
            try:
                rules.check_model(model, gpu, DEFAULT_VERSION)
                bits = rules.dtype_bits(model, gpu, "auto")
                layout = layouts.cache_layout(model, gpu, dtype, dtype_bits=bits)
            except UnsupportedError:
                continue
            layout = replace(layout, backend="", state_checkpoints=layout.state_checkpoints and model.has_state)
            away = tables and bool(with_tables((), model, parallel, gpu, DEFAULT_VERSION))
            kinds.setdefault(_Kind(bits, parallel, kernels, number, layout, away), []).extend(indices)
    return kinds


@dataclass(frozen=True, slots=True)
class _Way:
    """One split of a model on the GPUs (indices) of a kind: its stages that differ, its cache."""

    gpus: list[int]
    kv_cache_dtype: int
    tensor_parallel_size: int
    pipeline_parallel_size: int
    stages: list[Stage]
    cache: CachePlan


def _ways(model: ModelSpec, machines: Machines) -> list[_Way]:
    """All splits that `search.splits` allows, on all kinds of GPU."""
    sizes = [(tp, pp) for tp, pp in machines.splits if not heads_or_layers(model, tp, pp)]
    known: dict[tuple[Parallel, Loading, int, int], Parts | None] = {}
    ways = []
    for kind, gpus in _kinds(model, machines).items():
        held = {tp: of_tp for tp in {tp for tp, _ in sizes} if (of_tp := _held(model, kind, tp, known))}
        divided = {1, *(tp * pp for tp, pp in sizes if tp in held and tp > 1)}
        divided |= {count for count in {*machines.counts} - divided if _stages_alone(model, machines.gpus[gpus[0]], count)}
        for tp, pp in sizes:
            if tp in held and tp * pp in divided:
                parts, cache = held[tp]
                buffers = buffer_bytes(model, Parallel(tensor_parallel_size=tp), kind.dtype_bits, VERSIONS[DEFAULT_VERSION].film_tables)
                stages = _stages(model, parts, buffers, cache, pp)
                if kind.tables_away:
                    away = with_tables((), loaded(model, kind.kernels), Parallel(tensor_parallel_size=tp), machines.gpus[gpus[0]], DEFAULT_VERSION)
                    stages = [without(stages[0], away[0]), *stages[1:]]
                ways.append(_Way(gpus, kind.kv_cache_dtype, tp, pp, stages, cache))
    return ways


def _stages_alone(model: ModelSpec, gpu: GpuSpec, count: int) -> bool:
    """Whether a machine that tensor parallelism does not divide is offered for its stages: where `splits` has another use of it, with experts spread."""
    if not model.experts_per_token:
        return False
    try:
        return any(parallel.pipeline_parallel_size == count for parallel in splits(Request(model=model, group=GpuGroup(gpu=gpu, count=count))))
    except PlannerError:
        return False


def _held(model: ModelSpec, kind: _Kind, tp: int, known: dict[tuple[Parallel, Loading, int, int], Parts | None]) -> tuple[Parts, CachePlan] | None:
    """What a rank holds of the model and how its cache is laid out; None where it cannot be divided so."""
    parallel = replace(kind.parallel, tensor_parallel_size=tp)
    created, key = (kind.parallel, Loading(), kind.dtype_bits, tp), (kind.parallel, kind.kernels, kind.dtype_bits, tp)
    try:
        if created not in known:  # what cannot be divided is refused when it is created
            known[created] = None
            known[created] = part_bytes(model, parallel, kind.dtype_bits)
        if key not in known:
            known[key] = part_bytes(loaded(model, kind.kernels), parallel, kind.dtype_bits) if known[created] else None
        parts = known[key]
        return (parts, CachePlan(cache_groups(cache_specs(model, tp, kind.layout), kind.layout))) if parts else None
    except PlannerError:
        return None


def _stages(model: ModelSpec, parts: Parts, buffers: int, cache: CachePlan, pp: int) -> list[Stage]:
    """The stages that differ: of those alike the first is the fullest."""
    parallel = Parallel(pipeline_parallel_size=pp)
    blocks = block_bytes(cache.groups, stage_layers(model.layer_count, parallel))
    totals = zip(stage_totals(model, parts, parallel), blocks, strict=True)
    return list(dict.fromkeys(Stage(weights, buffers, block, index == pp - 1) for index, (weights, block) in enumerate(totals)))


def _column(values: Sequence[int], way: Array) -> Array:
    """A value of each way as a column, one row a server."""
    return np.array(values)[way][:, None]


def _stage(stages: Sequence[Stage], way: Array) -> Stage[Array]:
    """A stage of each way as a column."""
    return Stage(
        _column([stage.weights_bytes for stage in stages], way),
        _column([stage.buffers_bytes for stage in stages], way),
        _column([stage.block_bytes for stage in stages], way),
        _column([stage.last for stage in stages], way),
        offloaded_bytes=_column([stage.offloaded_bytes for stage in stages], way),
    )


def servers(name: str, model: ModelSpec, machines: Machines, contexts: Sequence[int]) -> Servers | None:
    """All servers of a model on these machines, at each context; None where every GPU refuses it or none divides it."""
    ways = _ways(model, machines)
    if not ways:
        return None
    way = np.repeat(np.arange(len(ways)), [len(item.gpus) for item in ways])
    gpu = np.concatenate([item.gpus for item in ways])
    lengths = np.array(contexts, dtype=np.int64)
    tp = _column([item.tensor_parallel_size for item in ways], way)
    pp = _column([item.pipeline_parallel_size for item in ways], way)
    asked = machines.table.of(gpu, tp[:, 0])
    config = _Settings(
        tensor_parallel_size=tp,
        pipeline_parallel_size=pp,
        gpu_memory_utilization=asked.gpu_memory_utilization,
        max_model_len=lengths,
        max_num_seqs=machines.max_num_seqs,
        max_num_batched_tokens=np.maximum(asked.max_num_batched_tokens, lengths if model.is_encoder else rules.least_batch(model, VERSIONS[DEFAULT_VERSION])),
    )
    depth = max(len(item.stages) for item in ways)
    stages = [_stage([item.stages[min(number, len(item.stages) - 1)] for item in ways], way) for number in range(depth)]
    needed = _needed(ways, way, lengths, rules.in_flight_tokens(config, pooled=model.pooling))
    shapes = Shapes(model, config)
    expected, conservative, optimistic = (ledger(shapes, asked.device, outlook, stages, needed_blocks=needed) for outlook in Outlook)
    verdict = rank_of(*(np.asarray(item.starts) for item in (conservative, expected, optimistic)))
    return Servers(
        model=name,
        gpu=gpu,
        tensor_parallel_size=tp[:, 0],
        pipeline_parallel_size=pp[:, 0],
        kv_cache_dtype=_column([item.kv_cache_dtype for item in ways], way)[:, 0],
        contexts=lengths,
        expected=expected,
        conservative=conservative,
        verdict=np.where(lengths <= model.max_position_embeddings, verdict, BEYOND).astype(np.int8),
    )


def _needed(ways: list[_Way], way: Array, lengths: Array, in_flight: Array) -> Array:
    """Blocks of one request of each length, by the cache of each server."""
    needed = np.zeros((len(way), len(lengths)), dtype=np.int64)
    caches = {id(item.cache): item.cache for item in ways}
    identity = np.array([id(item.cache) for item in ways])[way]
    for key, cache in caches.items():
        rows = identity == key
        needed[rows] = cache.blocks_per_request(lengths, in_flight[rows])
    return needed
