"""What we choose: fields named as vLLM's flags."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """How a model is divided over GPUs. `expert_padding`: what an MXFP4 kernel rounds an expert's width up to."""

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    enable_expert_parallel: bool = False
    expert_padding: int = 1

    @property
    def world_size(self) -> int:
        """Number of GPUs."""
        return self.tensor_parallel_size * self.pipeline_parallel_size
