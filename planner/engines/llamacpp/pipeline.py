"""What comes to a GPU from another when layers are split over several: four copies of each input where steps overlap, else one.

Source: llama.cpp ggml/src/ggml-backend.cpp ggml_backend_sched_split_graph (v0.5.0): copies are marked as inputs, so that the allocator keeps each apart
for the whole step; a view of a cache is a tensor of its own for every layer that reads it. Equal to its allocator on two, three and five cards
(tests/oracle/llamacpp_buffers.py).
"""

from __future__ import annotations

from planner.engines.llamacpp.layers import MAIN_MEMORY, Placement
from planner.engines.llamacpp.memory import PIPELINE_COPIES, LlamaCppConfig
from planner.engines.llamacpp.model import GgufModel


def is_piped(config: LlamaCppConfig, where: Placement, gpus: int) -> bool:
    """Whether steps overlap (src/llama-context.cpp): every layer and its cache on GPUs, and no tensor apart."""
    return gpus > 1 and config.kv_on_gpu and MAIN_MEMORY not in where.gpus and not any(where.moved)


def copies(config: LlamaCppConfig, where: Placement, gpus: int) -> int:
    """How many copies of each input the scheduler keeps."""
    return PIPELINE_COPIES if is_piped(config, where, gpus) else 1


def lender(model: GgufModel, cache: object) -> int:
    """The last layer that keeps such a cache: the one that others read."""
    return max(index for index, layer in enumerate(model.layers) if cache in layer.caches)
