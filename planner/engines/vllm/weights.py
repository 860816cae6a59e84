"""Bytes of the parameters one rank holds, exactly as vLLM's own classes create them.

A fused linear's outputs are the sum of its parts' shares; every `Plane` of its storage is then counted on that shard.
Sources: vllm/model_executor/layers/{linear.py,vocab_parallel_embedding.py,fused_moe/} and quantization/, 0.33.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache

from planner.engines.shards import module_bytes, modules_bytes, tensor_bytes
from planner.errors import NotDivisibleError
from planner.facts.config import Parallel
from planner.facts.model import ModelSpec
from planner.facts.modules import FILM_TABLE, Experts, Linear, Module
from planner.facts.record import Same, dataclass, replace
from planner.facts.storage import ROUTER


def stage_layers(layers: int, parallel: Parallel) -> list[int]:
    """Layers of each pipeline stage: by hand, or the remainder goes to the stages before the last (vllm distributed/utils.py get_pp_indices)."""
    if parallel.layer_partition:
        return list(parallel.layer_partition)
    stages = parallel.pipeline_parallel_size
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
    tower_layer: int = 0  # of one of the tower's layers that stages share out


def part_bytes(model: ModelSpec, parallel: Parallel, dtype_bits: int = 16) -> Parts:
    """Bytes of the parts on one rank. Raises NotDivisibleError where tensor parallelism cannot divide one."""
    return _part_bytes(Same(model), replace(parallel, pipeline_parallel_size=1, layer_partition=()), dtype_bits)


@lru_cache(maxsize=256)
def _part_bytes(same: Same[ModelSpec], parallel: Parallel, dtype_bits: int) -> Parts:
    model = same.thing
    every, first, last, copy = (modules_bytes(part, parallel, dtype_bits) for part in (model.every, model.first, model.last, model.tied_copy))
    tower = _tower_bytes(Same(model.tower), parallel, dtype_bits)
    every, first = (every + tower, first) if model.tower_on_every_stage else (every, first + tower)
    layers = tuple(modules_bytes(group.modules, parallel, dtype_bits) for group in model.layers)
    stack = model.tower_shared_out
    return Parts(every, first, last, copy, layers, sum(module_bytes(module, parallel, dtype_bits) for module in stack.modules) if stack else 0)


@lru_cache(maxsize=256)
def _tower_bytes(same: Same[tuple[Module, ...]], parallel: Parallel, dtype_bits: int) -> int:
    """Bytes of a tower on one rank: the same before and after kernels have repacked a model, and by far its most modules."""
    return sum(module_bytes(module, _of_tower(module, parallel), dtype_bits) for module in same.thing)


def _of_tower(module: Module, parallel: Parallel) -> Parallel:
    """How a tower's module is divided: where each rank has its own images it is whole, but for a projector that its class divides (mllama4.py, isaac.py)."""
    whole = parallel.whole_tower and not module.name.startswith(("multi_modal_projector", "vision_embedding.linear_fc"))
    return replace(parallel, tensor_parallel_size=1) if whole else parallel


def stage_totals(model: ModelSpec, parts: Parts, parallel: Parallel, *, stored: bool = True) -> list[int]:
    """Parameter bytes of one rank of each pipeline stage.

    The first stage holds the embedding and the vision tower, the last the final norm and head (and the embedding again where
    they are tied); some classes build their ends on every stage. `stored`: the parts are the checkpoint's, which may differ from its config.
    """
    totals, start, stages = [], 0, parallel.pipeline_parallel_size
    for stage, count in enumerate(stage_layers(model.layer_count, parallel)):
        end = start + count
        held = (bisect_left(group.indices, end) - bisect_left(group.indices, start) for group in model.layers)
        total = parts.every + sum(size * layers for size, layers in zip(parts.layers, held, strict=True))
        is_first, is_last = stage == 0, stage == stages - 1
        total += (parts.first if is_first else 0) + (parts.last if is_last else 0)
        total += parts.tied_copy if is_last and not is_first else 0
        total -= parts.tower_layer * _elsewhere(model, parallel) if is_first else 0
        totals.append(_as_stored(model, total) if stored else total)
        start = end
    return totals


def _elsewhere(model: ModelSpec, parallel: Parallel) -> int:
    """Layers of the tower that the first stage is not given: stages share them out, and no later stage builds a tower (0.33)."""
    if model.tower_shared_out is None:
        return 0
    depth = len(model.tower_shared_out.indices)
    counts = stage_layers(depth, parallel)
    if sum(counts) != depth:
        raise NotDivisibleError(f"sum(partitions)={sum(counts)} does not match num_hidden_layers={depth}, the layers of its tower")
    return depth - counts[0]


def stage_weights(model: ModelSpec, parallel: Parallel, dtype_bits: int = 16) -> list[int]:
    """Parameter bytes of one rank of each pipeline stage. Raises NotDivisibleError."""
    return stage_totals(model, part_bytes(model, parallel, dtype_bits), parallel)


def drafter_weights(model: ModelSpec, parallel: Parallel, dtype_bits: int, held: Callable[[ModelSpec], ModelSpec] = lambda drafter: drafter) -> int:
    """What a rank of the last stage holds of a target's drafter, divided as its target is; `held` tells what kernels make of it once loaded.

    Words are its target's only where one stage holds both (v1/worker/gpu/spec_decode/eagle/utils.py maybe_share_target_embed).
    """
    if model.drafter is None or (drafter := model.drafter.model) is None:
        return 0
    apart = parallel.pipeline_parallel_size > 1 and (model.drafter.own_words or not model.tied_copy)
    words = modules_bytes(model.drafter.words, parallel, dtype_bits) if apart else 0
    return words + stage_weights(held(drafter), replace(parallel, pipeline_parallel_size=1, layer_partition=()), dtype_bits)[0]


def kernels_matter(model: ModelSpec) -> bool:
    """Whether what a GPU's kernels round and widen (`Parallel`'s multiples) can change the model's bytes: where it routes to experts."""
    return any(isinstance(module, Experts) or (isinstance(module, Linear) and module.storage is ROUTER) for group in model.layers for module in group.modules)


def _as_stored(model: ModelSpec, derived_bytes: int) -> int:
    """A rank's bytes where the checkpoint's tensors are known to hold more or less than its config says: every rank has its share."""
    if (checkpoint := model.checkpoint) is None:
        return derived_bytes
    return derived_bytes * checkpoint.stored_bytes // checkpoint.derived_bytes


def buffer_bytes(model: ModelSpec, parallel: Parallel, dtype_bits: int = 16, film_tables: int = 1) -> int:
    """Bytes of the buffers that a rank allocates at load: rotary tables and the like, and a layer's experts where they move (eplb_state.py add_model).

    Those of three positions are `film_tables` times as long.
    """
    times = ((buffer, film_tables if buffer.name == FILM_TABLE else 1) for buffer in model.buffers)
    tables = sum(count * tensor_bytes(buffer, parallel.tensor_parallel_size, dtype_bits) for buffer, count in times)
    banks = (module for group in model.layers for module in group.modules if isinstance(module, Experts)) if parallel.balances_experts else iter(())
    first = next(banks, None)
    return tables + (module_bytes(first, parallel, dtype_bits) if first else 0)
