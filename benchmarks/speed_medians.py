"""Median errors of the shipped constants over the data, by class and metric, and over MLPerf's results, without a fit: what CI holds still (tests/data/speed_medians.json)."""

from __future__ import annotations

import json
from collections import defaultdict
from math import log
from pathlib import Path

import numpy as np

from benchmarks import mlperf
from benchmarks.speed_fit import NAMES, Columns
from benchmarks.speed_rows import measured
from planner.speed.constants import fitted

FILE = Path(__file__).parent.parent / "tests" / "data" / "speed_medians.json"


def medians() -> dict[str, float]:
    """Percent, of every class and metric that somebody measured."""
    figures, constants = measured(), fitted().constants
    errors = 100 * np.abs(np.expm1(Columns(figures).log_errors(np.array([log(constants[name]) for name in NAMES]))))
    classes: dict[str, list[int]] = defaultdict(list)
    for index, figure in enumerate(figures):
        classes[f"{figure.kind} {figure.metric}"].append(index)
    whole_load = {f"mlperf {scenario}": error for scenario, error in mlperf.medians().items()}
    return {name: round(float(np.median(errors[part])), 2) for name, part in sorted(classes.items())} | whole_load


if __name__ == "__main__":
    FILE.write_text(json.dumps(medians(), indent=1) + "\n")
