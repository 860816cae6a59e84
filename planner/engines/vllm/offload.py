"""Weights in main memory: which parameters of a rank vLLM keeps there, and what of the GPU it takes to fetch them.

Sources: vLLM 0.33 model_executor/offloader/uva.py (layer by layer, one parameter after the other until so many GiB lie there), prefetch.py (the last
layers of every group, each fetched into one of a few buffers); before 0.17 the first alone, in model_executor/models/utils.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from planner.engines.shards import module_bytes
from planner.engines.vllm.weights import stage_layers
from planner.facts.config import Parallel
from planner.facts.model import LayerGroup, ModelSpec
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


def offloaded(model: ModelSpec, parallel: Parallel, offload: Offload, dtype_bits: int = 16) -> tuple[Offloaded, ...]:
    """What one rank of each pipeline stage keeps in main memory."""
    by_layer = {index: group for group in model.layers for index in group.indices}
    ends = list(accumulate(stage_layers(model.layer_count, parallel.pipeline_parallel_size), initial=0))
    stages = [[by_layer[index] for index in range(start, end)] for start, end in pairwise(ends)]
    if offload.group_size:
        return tuple(_prefetched(layers, parallel, offload, dtype_bits) for layers in stages)
    tower = model.tower if offload.tower else ()
    return tuple(Offloaded(_taken(tower if number == 0 else (), layers, parallel, offload, dtype_bits)) for number, layers in enumerate(stages))


def _parameters(modules: Sequence[Module], parallel: Parallel, dtype_bits: int) -> Iterator[tuple[str, int]]:
    """Names and bytes of parameters in the order in which vLLM's classes have them; scales and biases count with their matrix."""
    for module in modules:
        size = module_bytes(module, parallel, dtype_bits)
        match module:
            case Experts():
                down = size // (module.shards + 1)
                yield f"{module.name}.w13_weight", size - down
                yield f"{module.name}.w2_weight", down
            case Linear():
                yield f"{module.name}.weight", size
            case _:
                yield module.name, size


def _taken(tower: Sequence[Module], layers: Sequence[LayerGroup], parallel: Parallel, offload: Offload, dtype_bits: int) -> int:
    """Bytes that lie in main memory: the parameter that reaches the limit lies there as a whole."""
    taken = 0
    for modules in (tower, *(layer.modules for layer in layers)):
        if taken >= offload.max_bytes:
            break
        for name, size in _parameters(modules, parallel, dtype_bits):
            if taken >= offload.max_bytes:
                break
            taken += size if offload.takes(name) else 0
    return taken


def _prefetched(layers: Sequence[LayerGroup], parallel: Parallel, offload: Offload, dtype_bits: int) -> Offloaded:
    """The last layers of every group; buffers hold each parameter that differs in name or size once for each layer fetched ahead."""
    taken, kinds = 0, set()
    for index, layer in enumerate(layers):
        if index % offload.group_size >= offload.group_size - offload.in_group:
            kept = [(name, size) for name, size in _parameters(layer.modules, parallel, dtype_bits) if offload.takes(name)]
            taken += sum(size for _, size in kept)
            kinds.update(kept)
    return Offloaded(taken, offload.buffers * sum(size for _, size in kinds))


def limit_bytes(gib: float) -> int:
    """What `--cpu-offload-gb` means in bytes."""
    return int(gib * GIB)
