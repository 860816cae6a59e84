"""What a log of mlx_lm.server or mlx_vlm.server says beside what was predicted for its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.engines.beside import differences
from planner.engines.mlx.causes import near_the_limit, remedies
from planner.engines.mlx.check import check_server
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.observed import Explained, Observed, Remedy

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue
    from planner.facts.plan import Plan


def explain(observed: Observed, *, model: str, gpu: GpuSpec | None, catalogue: Catalogue) -> Explained:
    """Set a log beside the prediction for its model."""
    observed.model = observed.model or model or None
    words = ["--model", observed.model] if observed.model else []
    predicted = _predict(words, gpu, catalogue)
    return Explained(
        observed=observed,
        argv=("mlx_lm.server", *words) if words else (),
        predicted=predicted,
        differences=differences(observed, predicted, {"weights": "another format of the weights"}),
        remedies=remedies(observed.root_cause) if observed.root_cause else _warned(observed),
    )


def _warned(observed: Observed) -> tuple[Remedy, ...]:
    limit = observed.flags.get("recommended_bytes")
    return (near_the_limit(observed.weights_bytes, limit),) if observed.weights_bytes and isinstance(limit, int) else ()


def _predict(words: list[str], gpu: GpuSpec | None, catalogue: Catalogue) -> Plan | None:
    if not words or gpu is None or gpu.vendor != "apple":
        return None
    try:
        return check_server(Command(engine="mlx", words=tuple(words)), GpuGroup(gpu=gpu, count=1), catalogue)
    except PlannerError:
        return None
