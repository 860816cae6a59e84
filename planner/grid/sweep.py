"""A grid over models, machines and contexts, model by model, on this machine's cores or a Ray cluster, in the order of the question.

A model's part is computed alone and yielded whole: an interrupted sweep is a shorter one, and who computes it changes nothing.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache

import numpy as np

from planner.arrays import Array
from planner.catalogue.cards import cards
from planner.catalogue.load import Catalogue, Entry, current, find_gpu, find_model, model_rows, unknown_model, use, using
from planner.engines import first_engine
from planner.errors import PlannerError, WorldError, require
from planner.facts.hardware import Host
from planner.facts.record import dataclass
from planner.facts.verdict import Verdict
from planner.grid.interrupt import leave_signals
from planner.grid.servers import BEYOND, KV_DTYPES, Machines, Servers, servers
from planner.grid.speed import speeds

MOST_POINTS = 200_000_000  # about three minutes; what is larger is a mistake, or several sweeps
CONTEXTS = tuple(base << power for power in range(10) for base in (2048, 3072))
COLUMNS = (
    "model", "gpu", "count", "tensor_parallel_size", "pipeline_parallel_size", "kv_cache_dtype", "context", "verdict",
    "weights_bytes", "kv_cache_bytes", "kv_cache_bytes_low", "max_concurrency", "max_concurrency_low", "tokens_per_s",
)  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """The question: names of the catalogue, so that any process with the same catalogue can answer its part."""

    models: tuple[str, ...]
    gpus: tuple[str, ...]
    counts: tuple[int, ...] = tuple(range(1, 9))
    contexts: tuple[int, ...] = CONTEXTS
    users: int | None = None
    host: str = "server"
    only_starts: bool = False
    with_speed: bool = True
    own_rows: str = ""
    """The digest of a person's own rows (`Catalogue.digest`): with others it is another question."""

    @property
    def points(self) -> int:
        """An upper bound of the rows: every split of every count with every cache dtype at every context."""
        splits = sum(sum(1 for tp in range(1, count + 1) if count % tp == 0) for count in self.counts)
        return len(self.models) * len(self.gpus) * splits * len(KV_DTYPES) * len(self.contexts)


def all_models() -> tuple[str, ...]:
    """Every variant that vLLM serves."""
    return tuple(Entry(row, variant).name for row in model_rows() for variant in row.variants if variant.is_checkpoint and variant.is_the_model)


def all_gpus() -> tuple[str, ...]:
    """Every GPU that vLLM runs on."""
    return tuple(card.name for card in cards())


def check(sweep: Sweep) -> None:
    """Refuse unknown names and what is too large to be meant. Raises PlannerError."""
    if sweep.points > MOST_POINTS:
        raise PlannerError(f"a grid of {sweep.points:,} points; at most {MOST_POINTS:,} are computed", "fewer --contexts, --counts, --gpus or --models")
    for name in sweep.gpus:
        if refused := first_engine().refuses(find_gpu(name)):
            raise PlannerError(f"{name}: a sweep is about {first_engine().title}; {refused}", "leave it out")
    for name in sweep.models:
        if (entry := find_model(name)) is None:
            raise unknown_model(name)
        if not entry.variant.is_checkpoint:
            raise PlannerError(f"{name} is for {entry.variant.runtime}; a sweep is about {first_engine().title}", "leave it out")


@cache
def _machines(_: Catalogue, gpus: tuple[str, ...], counts: tuple[int, ...], host: str, users: int | None) -> Machines:
    return Machines(tuple(find_gpu(name) for name in gpus), counts, Host(host), users)


@cache
def _entries(catalogue: Catalogue) -> dict[str, Entry]:
    return {entry.name: entry for row in catalogue.model_rows() for variant in row.variants if (entry := Entry(row, variant))}


def part(sweep: Sweep, model: str) -> dict[str, Array]:
    """One model's rows as columns; strings as indices into the question's names (`decoded` turns them back)."""
    entry = _entries(current()).get(model) or find_model(model)
    if entry is None:
        raise unknown_model(model)
    spec, machines = entry.spec(), _machines(current(), sweep.gpus, sweep.counts, sweep.host, sweep.users)
    planned = servers(model, spec, machines, sweep.contexts)
    if planned is None:
        return {}
    rate = speeds(spec, planned, machines) if sweep.with_speed else np.full(len(planned.gpu), np.nan)
    return _columns(sweep, planned, rate)


def _columns(sweep: Sweep, planned: Servers, rate: Array) -> dict[str, Array]:
    shape = planned.verdict.shape
    keep = planned.verdict == Verdict.STARTS.rank if sweep.only_starts else planned.verdict != BEYOND

    def cells(values: Array | float) -> Array:
        column: Array = np.broadcast_to(values, shape)[keep]
        return column

    def rows(values: Array) -> Array:
        return cells(values[:, None])

    return {
        "gpu": rows(planned.gpu.astype(np.int16)),
        "count": rows(planned.world_size.astype(np.int16)),
        "tensor_parallel_size": rows(planned.tensor_parallel_size.astype(np.int16)),
        "pipeline_parallel_size": rows(planned.pipeline_parallel_size.astype(np.int16)),
        "kv_cache_dtype": rows(planned.kv_cache_dtype.astype(np.int8)),
        "context": cells(planned.contexts),
        "verdict": planned.verdict[keep],
        "weights_bytes": cells(planned.expected.weights_bytes),
        "kv_cache_bytes": cells(planned.expected.kv_cache_bytes),
        "kv_cache_bytes_low": cells(planned.conservative.kv_cache_bytes),
        "max_concurrency": cells(planned.at_once("expected")),
        "max_concurrency_low": cells(planned.at_once("conservative")),
        "tokens_per_s": rows(_two_digits(rate)),
    }


def _two_digits(values: Array) -> Array:
    """As `estimate.significant`, an element each."""
    step = 10.0 ** (1 - np.floor(np.log10(values)))
    rounded: Array = np.round(values * step) / step
    return rounded


def parts(sweep: Sweep, models: Sequence[str], jobs: int | None = None, ray: str | None = None) -> Iterator[tuple[str, dict[str, Array]]]:
    """The parts of so many models in their order: in this process, in `jobs` others, or as tasks of a Ray cluster. Raises WorldError."""
    if ray is not None:
        yield from zip(models, _on_ray(sweep, models, ray), strict=True)
        return
    wanted = jobs if jobs is not None else min(os.cpu_count() or 1, 8)
    if wanted <= 1 or len(models) < 2 * wanted:
        yield from ((model, part(sweep, model)) for model in models)
        return
    chunk = max(1, min(8, len(models) // (4 * wanted)))
    with _pool(wanted) as pool:
        yield from zip(models, pool.map(_Part(sweep), models, chunksize=chunk), strict=True)


@dataclass(frozen=True)
class _Part:
    """`part` of one sweep, as worker processes are handed it."""

    sweep: Sweep

    def __call__(self, model: str) -> dict[str, Array]:
        return part(self.sweep, model)


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that inherit what is loaded where the system can fork. Raises WorldError where one of them was ended from outside."""
    kind = "fork" if "fork" in multiprocessing.get_all_start_methods() and os.uname().sysname == "Linux" else "spawn"
    _entries(current())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context(kind), _begin_worker, (current(),))
    try:
        yield pool
    except BrokenProcessPool:
        raise WorldError("a worker process was ended", "--resume goes on; --jobs 1 takes less memory") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker(catalogue: Catalogue) -> None:
    """Names mean what they do in the process that started this one; signals are for that one, and this one ends with it, however that ends."""
    use(catalogue)
    leave_signals()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _on_ray(sweep: Sweep, models: Sequence[str], address: str) -> Iterator[dict[str, Array]]:
    """Tasks of an existing Ray cluster (`local` starts one here); results come in the order of the models."""
    require("--ray", "ray")
    import ray

    _reach(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise WorldError(
            f"Ray at {address[:60]}: {' '.join(str(error).split())[:200]}", "`ray status` says what runs; a cluster with a token wants RAY_AUTH_TOKEN"
        ) from None
    try:
        task = ray.remote(_part_with)
        question, names = ray.put(sweep), ray.put(current())
        for reference in [task.remote(names, question, model) for model in models]:
            yield ray.get(reference)
    finally:
        ray.shutdown()


def _part_with(catalogue: Catalogue, sweep: Sweep, model: str) -> dict[str, Array]:
    with using(catalogue):
        return part(sweep, model)


def _reach(address: str) -> None:
    """Refuse a host and port where nobody listens: Ray itself would end this process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise WorldError(f"Ray at {address[:60]}: {getattr(error, 'strerror', None) or error}", "`ray status` says what runs") from None


def decoded(sweep: Sweep, model: str, columns: dict[str, Array]) -> dict[str, Array]:
    """The columns of a part with their names: strings as arrays of objects."""
    count = len(columns["gpu"])
    names = {
        "gpu": np.array(sweep.gpus, dtype=object),
        "kv_cache_dtype": np.array(KV_DTYPES, dtype=object),
        "verdict": np.array([verdict.value for verdict in Verdict], dtype=object),
    }
    return {"model": np.full(count, model, dtype=object)} | {name: names[name][values] if name in names else values for name, values in columns.items()}
