"""What a step reads of matrices as MLX stores them."""

from __future__ import annotations

from dataclasses import replace

from planner.engines.mlx.memory import MlxFormat
from planner.engines.work import weights
from planner.facts.config import Parallel
from planner.facts.model import ModelSpec
from planner.speed.work import Weights


def mlx_weights(model: ModelSpec, form: MlxFormat) -> Weights:
    """Bytes as MLX stores matrices of so many weights."""
    plain, experts = weights(model, Parallel()), form.experts or form
    return replace(
        plain,
        dense_bytes=form.matrix_bytes(1, int(plain.dense_macs)),
        head_bytes=form.matrix_bytes(1, int(plain.head_macs)),
        expert_bytes=experts.matrix_bytes(1, int(plain.expert_macs)),
    )
