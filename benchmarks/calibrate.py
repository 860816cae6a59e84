"""Fit the overhead coefficients to the real starts: `python -m benchmarks.calibrate` rewrites planner/engines/vllm/overhead.json.

Activation: sampler logits, hidden states of a batch, expert workspaces, fitted over the starts without pipeline (there the logged
stage has no sampler). CUDA graphs: a constant, the layers of a stage, experts. Residuals: the 90th percentile of absolute errors on families left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import consumer, field
from benchmarks.consumer import Reported
from benchmarks.starts import Start, starts
from planner.catalogue.load import find_gpu
from planner.engines.vllm.device import device, gpu_class
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


@dataclass(frozen=True, slots=True)
class Left:
    """What a start took beside weights and cache less what the causes give, in GiB: of the conservative and the optimistic causes."""

    gpu: str
    several: bool
    conservative: float
    optimistic: float


def left_of(row: Reported) -> Left | None:
    """What a reported start tells of its class; nothing where no cache was told, and where the ledger lacks a part of the server."""
    checked = row.checked
    if checked.plan is None or row.kv_cache_gib is None or checked.not_covered or checked.config.kv_cache_memory_bytes is not None:
        return None
    choice, config = checked.plan.choice, checked.config
    group = checked.request.group
    on = device(group, config)
    # the cache that is predicted without a margin, less the one that was seen, is what the start took beside
    ends = (choice.conservative.kv_cache_bytes + on.most_margin_bytes, choice.optimistic.kv_cache_bytes + on.least_margin_bytes)
    conservative, optimistic = (cache / GIB - row.kv_cache_gib for cache in ends)
    return Left(group.gpu.name, config.tensor_parallel_size > 1, conservative, optimistic)


NOISE = 0.25  # GUESS: GiB that two starts on one machine differ by
# GUESS: reports on eight H200 differ by up to 2 GiB. Set, as data_centre below, with four A800 in view that were reported as A100: at less they would be
# sure to start, and did not.
DIVIDED_NOISE = {"data_centre": 1.25}


def margins(rows: list[Left], guess: float, noise: float = NOISE) -> list[float]:
    """Expected, conservative and optimistic margin of a class, in GiB.

    Reports are too mixed to move the middle. The ends hold nine in ten of what the causes' own range missed, and more: a guess where few kinds of GPU
    tell, which five of them bring down to what two starts of one machine differ by.
    """
    wary = max(noise, guess * (1 - len({row.gpu for row in rows}) / 5))
    most = max(0.0, float(np.quantile([row.conservative for row in rows], 0.9))) if rows else 0.0
    least = min(0.0, float(np.quantile([row.optimistic for row in rows], 0.1))) if rows else 0.0
    return [0.0, round(most + wary, 2), round(least - wary, 2)]


# GUESS, set by hand: reports on a GB10 put activation and outside torch at 5.8 to 9 GiB, graphs on two nodes at 5.1 (page cache and compilers are counted
# where memory is one); how much of it the causes already give was estimated, and one start in the data tells.
UNIFIED = {"single_gib": [3.0, 7.0, 0.0], "several_gib": [3.0, 11.0, 0.0]}
# GUESS: what is added to a class's ends where no start tells, in GiB; less where some do.
GUESSES = {"data_centre": 2.5, "workstation": 0.75, "consumer": 0.5, "small": 0.5, "unified": 4.0, "amd": 2.0}


def classes() -> dict[str, Any]:
    """The margins of every class of GPUs, from consumer and field starts. The fit's own card has none."""
    told = [left for row in (*consumer.reported(), *field.reported()) if (left := left_of(row))]
    table: dict[str, Any] = {"fit": {"starts": len(list(starts())), "gpus": 1, "single_gib": [0.0, 0.0, 0.0], "several_gib": [0.0, 0.0, 0.0]}}
    for name, guess in GUESSES.items():
        rows = [left for left in told if gpu_class(find_gpu(left.gpu)) == name]
        table[name] = {
            "starts": len(rows),
            "gpus": len({row.gpu for row in rows}),
            "single_gib": margins([row for row in rows if not row.several], guess),
            "several_gib": margins([row for row in rows if row.several], guess, DIVIDED_NOISE.get(name, NOISE)),
        }
    table["unified"] |= UNIFIED
    return table


def main() -> None:
    """Rewrite the file."""
    data = calibrated()
    data["classes"] = classes()
    data["fit"]["date"] = datetime.now(UTC).date().isoformat()
    FILE.write_text(json.dumps(data, indent=1) + "\n")
    print(json.dumps(data, indent=1))


if __name__ == "__main__":
    main()
