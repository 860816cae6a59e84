"""A micro-batch, and the buffer in which a layer's tensors lie while it is computed."""

from __future__ import annotations

from collections.abc import Callable

from planner.engines.llamacpp.arena import Arena, Block
from planner.engines.llamacpp.flow import Flow
from planner.facts.attention import Attention
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A micro-batch: `rows` tokens of `sequences`, against `masks_bytes` of masks (`cast_bytes` in the 32 bits that they arrive in, where they are copied).

    `layer_inputs`: values of a token that all layers read (per-layer embeddings); `beside`: values that arrive beside the hidden state, `deep` of them for
    the first layers only. `cells` and `copied` tell of a cache how many tokens a query is held against, and the bytes of
    its copies in 16 bits; `turns_keys`, `turns_values`: whether they are rotated before they are quantized.
    """

    rows: int
    sequences: int
    hidden: int
    masks_bytes: int
    cast_bytes: int
    flash_attention: bool
    turns_keys: bool
    turns_values: bool
    cells: Callable[[Attention | None], int]
    copied: Callable[[Attention | None], int]
    layer_inputs: int = 0
    beside: int = 0
    deep: int = 0


@dataclass(slots=True)
class Desk:
    """One layer at work: where the hidden states lie that it adds to, and the masks."""

    step: Step
    flow: Flow
    arena: Arena
    residual: Block
    masks: Block

    def take(self, width: int, extra_bytes: int = 0) -> Block:
        """A tensor of so many values of 32 bits for each token, and bytes beside."""
        return self.arena.take(width * self.step.rows * 4 + extra_bytes)

    def take_bytes(self, size: int) -> Block:
        """A tensor of so many bytes."""
        return self.arena.take(size)

    def give(self, *blocks: Block) -> None:
        """Tensors that nothing reads any more."""
        self.arena.give(*blocks)
