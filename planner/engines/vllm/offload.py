"""Weights in main memory: which parameters of a rank vLLM keeps there, and what of the GPU it takes to fetch them.

Sources: vLLM 0.33 model_executor/offloader/uva.py (layer by layer, one parameter after the other until so many GiB lie there), prefetch.py (the last
layers of every group, each fetched into one of a few buffers); before 0.17 the first alone, in model_executor/models/utils.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from planner.engines.shards import module_bytes
from planner.engines.vllm.versions import NGRAMS_IN_MAIN_MEMORY, VERSIONS
from planner.engines.vllm.weights import stage_layers
from planner.engines.work import is_table
from planner.facts.config import Parallel
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts, Linear, Module
from planner.facts.record import dataclass
from planner.units import GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Offload:
    """What a server is told of weights in main memory: so many bytes of a rank, or `in_group` of every `group_size` layers; of parameters so named."""

    max_bytes: int = 0
    group_size: int = 0
    in_group: int = 1
    buffers: int = 1
    """Layers that are fetched ahead, each into a buffer of its own."""
    names: tuple[str, ...] = ()
    tower: bool = False
    """Whether the vision tower is among them, before the layers."""

    def takes(self, name: str) -> bool:
        """Whether a parameter is meant: whole words of its name, or all where none is named."""
        return not self.names or any(f".{part}." in f".{name}." for part in self.names)


@dataclass(frozen=True, slots=True)
class Offloaded:
    """Bytes of a rank's weights that lie in main memory, and of the buffers on the GPU that they are fetched into."""

    weights_bytes: int = 0
    buffers_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A matrix or a bank's half with its scales and biases: bytes as it is created, which choose, and as it is held."""

    name: str
    created: int
    held: int


def offloaded(created: ModelSpec, held: ModelSpec, parallel: Parallel, offload: Offload, dtype_bits: int = 16) -> tuple[Offloaded, ...]:
    """What one rank of each pipeline stage keeps in main memory: chosen by the sizes that parameters are created with, as large as they are held."""
    by_layer: dict[int, list[_Parameter]] = {}
    for before, after in zip(created.layers, held.layers, strict=True):
        parameters = _parameters(before.modules, after.modules, parallel, dtype_bits)
        by_layer |= dict.fromkeys(before.indices, parameters)
    ends = list(accumulate(stage_layers(created.layer_count, parallel), initial=0))
    stages = [[by_layer[index] for index in range(start, end)] for start, end in pairwise(ends)]
    if offload.group_size:
        return tuple(_prefetched(layers, offload) for layers in stages)
    tower = [_parameters(created.tower, held.tower, parallel, dtype_bits)] if offload.tower else []
    return tuple(Offloaded(_taken([*(tower if number == 0 else []), *layers], offload)) for number, layers in enumerate(stages))


def _parameters(created: Sequence[Module], held: Sequence[Module], parallel: Parallel, dtype_bits: int) -> list[_Parameter]:
    """Parameters in the order in which vLLM's classes have them."""
    later = {module.name: module for module in held}
    parameters = []
    for module in created:
        sizes = [module_bytes(part, parallel, dtype_bits) for part in (module, later.get(module.name, module))]
        match module:
            case Experts():
                first, last = ([size - size // (module.shards + 1) for size in sizes], [size // (module.shards + 1) for size in sizes])
                parameters += [_Parameter(f"{module.name}.w13_weight", *first), _Parameter(f"{module.name}.w2_weight", *last)]
            case Linear():
                parameters.append(_Parameter(f"{module.name}.weight", *sizes))
            case _:
                parameters.append(_Parameter(module.name, *sizes))
    return parameters


def _taken(layers: Sequence[Sequence[_Parameter]], offload: Offload) -> int:
    """Bytes that lie in main memory: the parameter that reaches the limit lies there as a whole."""
    chosen, held = 0, 0
    for parameter in (part for layer in layers for part in layer if offload.takes(part.name)):
        if chosen >= offload.max_bytes:
            break
        chosen, held = chosen + parameter.created, held + parameter.held
    return held


def _prefetched(layers: Sequence[Sequence[_Parameter]], offload: Offload) -> Offloaded:
    """The last layers of every group; buffers hold each parameter that differs in name or size once for each layer fetched ahead."""
    groups = (layer for index, layer in enumerate(layers) if index % offload.group_size >= offload.group_size - offload.in_group)
    kept = [(parameter.name, parameter.held) for layer in groups for parameter in layer if offload.takes(parameter.name)]
    return Offloaded(sum(size for _, size in kept), offload.buffers * sum(size for _, size in set(kept)))


def with_tables(away: tuple[Offloaded, ...], held: ModelSpec, parallel: Parallel, gpu: GpuSpec, version: str) -> tuple[Offloaded, ...]:
    """The same with tables of n-grams, which lie in main memory by default; where that is the GPU's own they are counted as its."""
    since = NGRAMS_IN_MAIN_MEMORY.get(gpu.vendor)
    if gpu.unified_memory or since is None or VERSIONS[version].minor < since:
        return away
    tables = sum(len(group.indices) * module_bytes(module, parallel) for group in held.layers for module in group.modules if is_table(module))
    if not tables:
        return away
    first, *rest = away or (Offloaded(),)  # of a single stage: no model has both
    return (replace(first, weights_bytes=first.weights_bytes + tables), *rest)


def limit_bytes(gib: float) -> int:
    """What `--cpu-offload-gb` means in bytes."""
    return int(gib * GIB)
