"""The Pareto front of context, users, speed and cost: machines of which no other is at least as good in all and better in one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.arrays import Array
from planner.catalogue.prices import Prices
from planner.facts.hardware import GpuSpec
from planner.facts.record import dataclass
from planner.facts.verdict import Verdict
from planner.grid.servers import KV_DTYPES, Machines, servers
from planner.grid.speed import speeds
from planner.questions.machine_sizes import sizes_of
from planner.questions.stored import Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One server on a machine: what it holds surely at a context, how fast one user is served, what an hour of it costs."""

    gpu: str
    count: int
    stored: Stored
    tensor_parallel_size: int
    kv_cache_dtype: str
    context: int
    users: int
    tokens_per_s: float
    usd_per_hour: float


def points(stored: Sequence[Stored], gpus: Sequence[GpuSpec], counts: tuple[int, ...], contexts: tuple[int, ...], prices: Prices) -> list[Point]:
    """Every server that surely starts, on GPUs that can be rented and whose speed is known."""
    priced = tuple(gpu for gpu in gpus if gpu.name in prices.rent)
    grid = Machines(priced, counts)
    reached = []
    for store in stored:
        held = servers(store.name, store.model, grid, contexts)
        if held is None:
            continue
        rate, users = speeds(store.model, held, grid), held.users
        for row, column in zip(*np.nonzero((held.verdict == Verdict.STARTS.rank) & np.isfinite(rate)[:, None] & (users >= 1)), strict=True):
            gpu, count = priced[held.gpu[row]], int(held.world_size[row])
            if count not in sizes_of(gpu, prices):
                continue
            reached.append(
                Point(
                    gpu=gpu.name,
                    count=count,
                    stored=store,
                    tensor_parallel_size=int(held.tensor_parallel_size[row]),
                    kv_cache_dtype=KV_DTYPES[held.kv_cache_dtype[row]],
                    context=int(contexts[column]),
                    users=int(users[row, column]),
                    tokens_per_s=float(rate[row]),
                    usd_per_hour=prices.rent[gpu.name].usd * count,
                )
            )
    return reached


def _values(reached: Sequence[Point]) -> Array:
    """More is better in every column; speeds that differ by less than a tenth are equal, for they are no surer than that."""
    rows = [(point.context, point.users, round(np.log(point.tokens_per_s) / np.log(1.1)), -point.usd_per_hour) for point in reached]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def front(reached: Sequence[Point]) -> list[Point]:
    """The points that no other dominates, cheapest first; of equals the first."""
    values = _values(reached)
    kept = []
    for index, row in enumerate(values):
        better = (values >= row).all(axis=1)
        strictly = better & (values > row).any(axis=1)
        equal_before = better & ~strictly & (np.arange(len(values)) < index)
        if not strictly.any() and not equal_before.any():
            kept.append(reached[index])
    return sorted(kept, key=lambda point: (point.usd_per_hour, point.context, point.users))
