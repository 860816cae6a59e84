"""The buffer of a vision projector, by the image that it is made for.

Source: llama.cpp tools/mtmd/clip.cpp (v0.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.facts.model import ModelSpec

if TYPE_CHECKING:
    from planner.engines.llamacpp.model import GgufModel

WARMUP_TOKENS = 46**2
WARMUP_PATCHES = 4 * WARMUP_TOKENS  # the image it allocates for at start: at most 46 x 46 tokens of 2 x 2 patches (tools/mtmd/clip.cpp set_warmup_n_tokens)


def warmup_bytes(model: ModelSpec) -> int:
    """The projector's buffer for the image of its warm-up, in 32 bits: a block's feed-forward, queries, keys and values. Larger images take more."""
    if (vision := model.vision) is None:
        return 0
    return min(vision.max_patches, WARMUP_PATCHES) * (vision.intermediate_size + 3 * vision.hidden_size) * 4


def image_bytes(model: GgufModel, tokens: int) -> int:
    """The projector's buffer for an image of at most so many tokens; 0: those of its warm-up. A projector of one size takes what it takes."""
    if not tokens or not model.mmproj_patches:
        return model.mmproj_compute_bytes
    warm = min(model.mmproj_patches, WARMUP_PATCHES)
    return model.mmproj_compute_bytes * min(model.mmproj_patches, 4 * tokens) // warm
