"""The whole catalogue as arrays, beside the scalar path: `python -m benchmarks.grid` prints time, rate, memory and whether both agree.

Every variant that vLLM serves x every GPU x 1 to 8 of them x every split x both cache dtypes x 20 contexts, computed by two processes and
held in this one. The scalar path answers a sample of the same settings, drawn at random; both are timed in the same run.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from planner.engines.vllm.choice import Request
from planner.engines.vllm.memory import Placement
from planner.engines.vllm.search import candidates, evaluate
from planner.engines.vllm.settings import Pins, ServeConfig
from planner.engines.vllm.splits import splits
from planner.facts.hardware import GpuGroup
from planner.facts.verdict import Verdict
from planner.grid.servers import KV_DTYPES, Array
from planner.grid.sweep import Sweep, all_gpus, all_models, parts

SAMPLE, JOBS = 2000, 2


@dataclass(frozen=True)
class Setting:
    """One row of the grid."""

    model: str
    row: dict[str, float]


def sample(found: dict[str, dict[str, Array]], count: int) -> Iterator[Setting]:
    """Settings drawn at random, models alike often."""
    rng = random.Random(0)
    for _ in range(count):
        model = rng.choice(list(found))
        columns = found[model]
        index = rng.randrange(len(columns["gpu"]))
        yield Setting(model, {name: values[index].item() for name, values in columns.items()})


def differs(sweep: Sweep, setting: Setting) -> bool:
    """Whether the scalar path answers something else."""
    from planner.catalogue.load import find_gpu

    row = setting.row
    model = _spec(setting.model)
    group = GpuGroup(gpu=find_gpu(sweep.gpus[int(row["gpu"])]), count=int(row["count"]))
    pins = Pins(
        tensor_parallel_size=int(row["tensor_parallel_size"]),
        pipeline_parallel_size=int(row["pipeline_parallel_size"]),
        kv_cache_dtype=KV_DTYPES[int(row["kv_cache_dtype"])],
        enforce_eager=False,
    )
    request = Request(model=model, group=group, pins=pins, context=int(row["context"]))
    (parallel,) = splits(request)
    config, placement = _first(candidates(request, parallel))
    choice = evaluate(request, replace(config, max_model_len=int(row["context"])), placement)
    ledger = choice.expected
    theirs = (choice.verdict, ledger.weights_bytes, ledger.kv_cache_bytes, choice.conservative.kv_cache_bytes, ledger.max_concurrency)
    ours = (list(Verdict)[int(row["verdict"])], row["weights_bytes"], row["kv_cache_bytes"], row["kv_cache_bytes_low"], row["max_concurrency"])
    return ours != theirs


@cache
def _spec(name: str):  # noqa: ANN202
    from planner.catalogue.load import find_model

    entry = find_model(name)
    if entry is None:
        raise KeyError(name)
    return entry.spec()


def _first(found: Iterator[tuple[ServeConfig, Placement]]) -> tuple[ServeConfig, Placement]:
    return next(found)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--speed", action="store_true", help="with the speed of each server")
    asked = options.parse_args()
    start = time.perf_counter()
    sweep = Sweep(models=all_models(), gpus=all_gpus(), with_speed=asked.speed)
    found = {model: columns for model, columns in parts(sweep, sweep.models, JOBS) if columns and len(columns["gpu"])}
    seconds = time.perf_counter() - start
    settings = sum(len(columns["gpu"]) for columns in found.values())
    peak = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    drawn = list(sample(found, SAMPLE))
    for setting in drawn:
        _spec(setting.model)
    start = time.perf_counter()
    wrong = sum(differs(sweep, setting) for setting in drawn)
    each = (time.perf_counter() - start) / SAMPLE
    print(f"grid: {settings:,} settings of {len(found)} models in {seconds:.2f} s on {JOBS} processes: {settings / seconds:,.0f} a second, catalogue included")
    print(f"memory: {peak[0]:.0f} MiB in this process, which holds them all, {peak[1]:.0f} MiB in the largest of the {JOBS}")
    print(f"scalar: {SAMPLE} of them at {each * 1000:.2f} ms each, {1 / each:,.0f} a second; {wrong} differ")


if __name__ == "__main__":
    main()
