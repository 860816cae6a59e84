"""Fit the overhead coefficients to the real starts: `python -m benchmarks.calibrate` rewrites planner/engines/vllm/overhead.json.

Activation: sampler logits, hidden states of a batch, expert workspaces, fitted over the starts without pipeline (there the logged
stage has no sampler). CUDA graphs: a constant, the layers of a stage, experts. Residuals: the 90th percentile of absolute errors on families left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import consumer, field
from benchmarks.consumer import Reported
from benchmarks.starts import Start, starts
from planner.catalogue.load import find_gpu
from planner.engines.vllm import coefficients
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.device import gpu_class
from planner.engines.vllm.memory import place, stage_budgets
from planner.engines.vllm.rules import capture_sizes
from planner.engines.vllm.versions import VERSIONS
from planner.units import GIB

FILE = Path(__file__).parent.parent / "planner" / "engines" / "vllm" / "overhead.json"


def activation_causes(start: Start) -> list[float]:
    """GiB of one copy of the logits, of one batch of hidden states, of one expert workspace."""
    model, config = start.model, start.config
    experts = config.max_num_batched_tokens * model.experts_per_token * max(model.expert_intermediate, model.hidden_size) * 2
    return [
        model.vocab_size * config.max_num_seqs * 4 / GIB,
        config.max_num_batched_tokens * model.hidden_size * 2 / GIB,
        experts / GIB if model.experts_per_token else 0.0,
    ]


def graph_causes(start: Start) -> list[float]:
    """A constant, layers of a stage, whether there are experts."""
    return [1.0, start.model.layer_count / start.config.pipeline_parallel_size, float(start.model.experts_per_token > 0)]


def solve(causes: list[list[float]], measured: list[float]) -> list[float]:
    """Least squares."""
    found, *_ = np.linalg.lstsq(np.array(causes), np.array(measured), rcond=None)
    return [float(value) for value in found]


def fit(rows: list[Start], causes_of: Callable[[Start], list[float]], measured_of: Callable[[Start], float]) -> tuple[list[float], float]:
    """Coefficients over all starts, and the 90th percentile of the absolute errors on families that were left out of the fit."""
    missed = []
    for family in {row.model.family for row in rows}:
        inside, outside = [row for row in rows if row.model.family != family], [row for row in rows if row.model.family == family]
        found = solve([causes_of(row) for row in inside], [measured_of(row) for row in inside])
        missed += [abs(float(np.dot(found, causes_of(row))) - measured_of(row)) for row in outside]
    return solve([causes_of(row) for row in rows], [measured_of(row) for row in rows]), float(np.quantile(missed, 0.9))


def non_torch_range(values: list[float]) -> list[float]:
    """Expected, conservative and optimistic memory outside torch: the median, the most and the least that was seen."""
    return [round(median(values), 2), max(values), min(values)]


def fitted(rows: list[Start], base: dict[str, Any]) -> dict[str, Any]:
    """The coefficients of `base`, those that these starts can tell fitted afresh."""
    data: dict[str, Any] = json.loads(json.dumps(base))
    plain = [row for row in rows if row.config.pipeline_parallel_size == 1]
    (sampler, hidden, experts), residual = fit(plain, activation_causes, lambda row: row.activation_gib)
    data["activation"] |= {
        "sampler_copies": round(sampler, 3),
        "hidden_copies": round(hidden, 3),
        "expert_copies": round(experts, 3),
        "residual_gib_p90": round(residual, 3),
    }
    (base_gib, layer, moe), residual = fit(rows, graph_causes, lambda row: row.graphs_gib)
    sizes = len(capture_sizes(rows[0].config.max_num_seqs, 90, VERSIONS[rows[0].config.vllm_version]))
    data["cuda_graph"] |= {
        "base_gib": round(base_gib, 3),
        "per_layer_gib": round(layer, 4),
        "experts_gib": round(moe, 3),
        "full_set_sizes": sizes,
        "residual_gib_p90": round(residual, 3),
    }
    kinds = {"single_gib": (1, 1), "pipeline_gib": (1, 2), "nvlink_gib": (2, 1)}
    for key, (tp, pp) in kinds.items():
        seen = [row.non_torch_gib for row in rows if min(row.config.tensor_parallel_size, 2) == tp and min(row.config.pipeline_parallel_size, 2) == pp]
        if seen:
            data["non_torch"][key] = non_torch_range(seen)
    data["fit"]["runs"] = len(rows)
    return data


def calibrated() -> dict[str, Any]:
    """overhead.json with freshly fitted coefficients; what is not fitted here stays."""
    return fitted(list(starts()), json.loads(FILE.read_text()))


@contextmanager
def using(data: dict[str, Any]) -> Iterator[None]:
    """Predict with other coefficients for a while."""
    kept, coefficients.coefficients = coefficients.coefficients, lambda: data
    coefficients.at.cache_clear()
    try:
        yield
    finally:
        coefficients.coefficients = kept
        coefficients.at.cache_clear()


@dataclass(frozen=True, slots=True)
class Left:
    """What a start took beside weights and cache less what the causes give, in GiB: of the expected, the conservative and the optimistic causes."""

    gpu: str
    several: bool
    expected: float
    conservative: float
    optimistic: float
    report: str = ""


def left_of(row: Reported) -> Left | None:
    """What a reported start, judged without margins, tells of its class; nothing where no cache was told, and where the ledger lacks a part of the server."""
    checked = row.checked
    if checked.plan is None or row.kv_cache_gib is None or checked.config.kv_cache_memory_bytes is not None:
        return None
    if any(part.most_bytes is None for part in checked.not_covered):
        return None
    choice, config = checked.plan.choice, checked.config
    caches = (choice.expected, choice.conservative, choice.optimistic)
    expected, conservative, optimistic = (ledger.kv_cache_bytes / GIB - row.kv_cache_gib for ledger in caches)
    return Left(checked.request.group.gpu.name, config.tensor_parallel_size > 1, expected, conservative, optimistic, row.name)


def left_of_start(start: Start) -> Left:
    """The same of a start of the fit's table."""
    asked = (start.model, start.group, start.config)
    placed = place(*asked)
    caches = (stage_budgets(*asked, outlook, placed)[0].kv_cache_bytes / GIB - start.kv_cache_gib for outlook in Outlook)
    return Left(start.group.gpu.name, start.config.tensor_parallel_size > 1, *caches, start.name)


NOISE = 0.25  # GUESS: GiB that two starts on one machine differ by
# GUESS: one of the reports, Qwen3-VL-30B-A3B on an A100 in 0.11, took 0.6 GiB more than the wary causes; nine in ten take none.
SINGLE_NOISE = {"data_centre": 0.75}
# GUESS: reports on eight H200 differ by up to 2 GiB. Set, as data_centre below, with four A800 in view that were reported as A100: at less they would be
# sure to start, and did not.
DIVIDED_NOISE = {"data_centre": 1.25}


def conformal(missed: list[float], share: float = 0.9) -> float:
    """What the next start of a class exceeds with a chance of one in ten: of n starts the one of rank ceil(0.9 (n + 1)), of fewer than nine the worst."""
    return sorted(missed)[min(len(missed), ceil(share * (len(missed) + 1))) - 1]


def margins(rows: list[Left], guess: float, noise: float = NOISE, middle: float = 0.0, kinds: int | None = None) -> list[float]:
    """Expected, conservative and optimistic margin of a class, in GiB.

    Reports are too mixed to move the middle. The ends hold nine in ten of what the causes' own range missed, and more: a guess where few kinds of GPU
    tell, which five of them bring down to what two starts of one machine differ by.
    """
    wary = max(noise, guess * (1 - (len({row.gpu for row in rows}) if kinds is None else kinds) / 5))
    most = max(0.0, conformal([row.conservative for row in rows])) if rows else 0.0
    least = min(middle, -conformal([-row.optimistic for row in rows])) if rows else 0.0
    return [middle, round(most + wary, 2), round(least - wary, 2)]


def bus(rows: list[Left], base: list[float]) -> list[float]:
    """Outside torch of each of several cards on PCIe: the middle of what was left there, the conservative end as it is, the least that was seen."""
    seen = [base[0] + row.expected for row in rows]
    return [round(max(0.0, median(seen)), 2), base[1], round(max(0.0, min(seen)), 2)]


def on_a_bus(row: Reported) -> bool:
    """Whether more than two ranks talk over PCIe."""
    config, gpu = row.checked.config, row.checked.request.group.gpu
    return config.tensor_parallel_size > 2 and not gpu.nvlink and gpu.vendor == "nvidia" and not gpu.unified_memory


TWO_UNIFIED = 4.0  # GUESS, in GiB: reports on two GB10 put graphs at 5.1; none of them is in the data
# GUESS: what is added to a class's ends where no start tells, in GiB; less where some do.
GUESSES = {"data_centre": 2.5, "workstation": 0.75, "consumer": 0.5, "small": 0.5, "unified": 4.0, "amd": 2.5, "radeon": 2.5}


def told() -> list[tuple[Reported, Left]]:
    """Consumer and field starts that tell something."""
    return [(row, left) for row in (*consumer.reported(), *field.reported()) if (left := left_of(row))]


def classes(reports: list[tuple[Reported, Left]]) -> dict[str, Any]:
    """The margins of every class of GPUs, from consumer and field starts; of the fit's own card from its table and newer reports."""
    table: dict[str, Any] = {"fit": fit_margins([left for row, left in reports if VERSIONS[row.checked.config.vllm_version].lean_sampler])}
    for name, guess in GUESSES.items():
        rows = [left for _, left in reports if gpu_class(find_gpu(left.gpu)) == name]
        table[name] = {
            "starts": len(rows),
            "gpus": len({row.gpu for row in rows}),
            "single_gib": margins([row for row in rows if not row.several], guess, SINGLE_NOISE.get(name, NOISE)),
            "several_gib": margins([row for row in rows if row.several], guess, DIVIDED_NOISE.get(name, NOISE)),
        }
    one = [left for _, left in reports if gpu_class(find_gpu(left.gpu)) == "unified" and not left.several]
    middle = round(median([row.expected for row in one]), 2) if one else 0.0
    # of its kind there is one, and every report is of another machine; the middle moves: page cache and compilers are counted where memory is one
    expected, most, least = margins(one, GUESSES["unified"], middle=middle, kinds=len(one))
    table["unified"] |= {"single_gib": [expected, most, least], "several_gib": [expected, round(most + TWO_UNIFIED, 2), least]}
    return table


def fit_margins(reports: list[Left]) -> dict[str, Any]:
    """Of the fit's card, whose causes have residuals of their own: nothing but what starts, its table's and reported, show beyond them."""
    rows = [*map(left_of_start, starts()), *(row for row in reports if gpu_class(find_gpu(row.gpu)) == "fit")]
    ends = {several: margins([row for row in rows if row.several is several], 0.0, 0.0) for several in (False, True)}
    return {"starts": len(rows), "gpus": 1, "single_gib": ends[False], "several_gib": ends[True]}


def without_margins(data: dict[str, Any]) -> dict[str, Any]:
    """Coefficients whose classes add nothing."""
    return data | {"classes": {name: row | {"single_gib": [0.0] * 3, "several_gib": [0.0] * 3} for name, row in data["classes"].items()}}


def main() -> None:
    """Rewrite the file."""
    data = calibrated()
    with using(without_margins(data)):
        data["non_torch"]["pcie_4_gib"] = bus([left for row, left in told() if on_a_bus(row)], data["non_torch"]["pcie_4_gib"])
    with using(without_margins(data)):
        data["classes"] = classes(told())
    data["fit"]["date"] = datetime.now(UTC).date().isoformat()
    FILE.write_text(json.dumps(data, indent=1) + "\n")
    print(json.dumps(data, indent=1))


if __name__ == "__main__":
    main()
