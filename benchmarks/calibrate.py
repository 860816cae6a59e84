"""Fit the overhead coefficients to the real starts: `python -m benchmarks.calibrate` rewrites planner/engines/overhead.json.

Activation: sampler logits, hidden states of a batch, expert workspaces, fitted over the starts without pipeline (there the logged
stage has no sampler). CUDA graphs: a constant, the layers of a stage, experts. Residuals: the 90th percentile of absolute errors.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.starts import Start, starts
from planner.engines.versions import VERSIONS
from planner.engines.vllm import capture_sizes
from planner.units import GIB

FILE = Path(__file__).parent.parent / "planner" / "engines" / "overhead.json"


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


def fit(causes: list[list[float]], measured: list[float]) -> tuple[list[float], float]:
    """Least squares, and the 90th percentile of the absolute residuals."""
    matrix, values = np.array(causes), np.array(measured)
    found, *_ = np.linalg.lstsq(matrix, values, rcond=None)
    return [float(value) for value in found], float(np.quantile(np.abs(matrix @ found - values), 0.9))


def calibrated() -> dict[str, Any]:
    """overhead.json with freshly fitted coefficients; what is not fitted here stays."""
    data: dict[str, Any] = json.loads(FILE.read_text())
    rows = list(starts())
    plain = [row for row in rows if row.config.pipeline_parallel_size == 1]
    (sampler, hidden, experts), residual = fit([activation_causes(row) for row in plain], [row.activation_gib for row in plain])
    data["activation"] |= {
        "sampler_copies": round(sampler, 3),
        "hidden_copies": round(hidden, 3),
        "expert_copies": round(experts, 3),
        "residual_gib_p90": round(residual, 3),
    }
    (base, layer, moe), residual = fit([graph_causes(row) for row in rows], [row.graphs_gib for row in rows])
    sizes = len(capture_sizes(rows[0].config.max_num_seqs, 90, VERSIONS[rows[0].config.vllm_version]))
    data["cuda_graph"] |= {
        "base_gib": round(base, 3),
        "per_layer_gib": round(layer, 4),
        "experts_gib": round(moe, 3),
        "full_set_sizes": sizes,
        "residual_gib_p90": round(residual, 3),
    }
    data["fit"]["runs"] = len(rows)
    return data


def main() -> None:
    """Rewrite the file."""
    data = calibrated()
    data["fit"]["date"] = datetime.now(UTC).date().isoformat()
    FILE.write_text(json.dumps(data, indent=1) + "\n")
    print(json.dumps(data, indent=1))


if __name__ == "__main__":
    main()
