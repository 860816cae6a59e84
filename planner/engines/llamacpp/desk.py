"""A micro-batch, and the buffer in which a layer's tensors lie while it is computed."""

from __future__ import annotations

from collections.abc import Callable

from planner.engines.llamacpp.arena import NOTHING, Arena, Block
from planner.engines.llamacpp.flow import Flow
from planner.engines.llamacpp.layers import Part
from planner.facts.attention import Attention
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A micro-batch: `rows` tokens of `sequences`, against `masks_bytes` of masks, `window_mask_bytes` of them of windows (`cast_bytes` in the 32 bits that they arrive in, where they are copied).

    `layer_inputs`: values of a token that all layers read (per-layer embeddings), `inputs_a_layer` each; `beside`: values that arrive beside the hidden state, `deep` of them for
    the first layers only. `cells` and `copied` tell of a cache how many tokens a query is held against, and the bytes of
    its copies in 16 bits; `turns_keys`, `turns_values`: whether they are rotated before they are quantized.
    """

    rows: int
    sequences: int
    hidden: int
    masks_bytes: int
    window_mask_bytes: int
    cast_bytes: int
    flash_attention: bool
    turns_keys: bool
    turns_values: bool
    cells: Callable[[Attention | None], int]
    copied: Callable[[Attention | None], int]
    layer_inputs: int = 0
    inputs_a_layer: int = 0
    beside: int = 0
    deep: int = 0


Lent = tuple[tuple[Part, int], ...]
"""Bytes of a layer's tensors that lie in main memory and are copied for each batch, by part."""


@dataclass(slots=True)
class Desk:
    """One layer at work: where the hidden states lie that it adds to, and the masks; those that the next layer is the first to read come with its last matrix."""

    step: Step
    flow: Flow
    arena: Arena
    residual: Block
    masks: Block
    lent: Lent = ()
    next_masks_bytes: int = 0
    next_masks: Block = NOTHING
    joined: Block = NOTHING
    inputs: Block = NOTHING
    arrived: Block = NOTHING

    def join_inputs(self) -> None:
        """Per-layer embeddings joined with what the hidden states that arrived give, which only the first layer has; where they lie then."""
        if not self.arrived[1]:
            return
        made = self.take(self.step.layer_inputs)
        self.give(self.arrived)
        scaled = self.take(self.step.layer_inputs)
        self.give(made, self.inputs)
        self.inputs = self.take(self.step.layer_inputs)
        self.give(scaled)

    def borrow(self, *parts: Part) -> Block:
        """The copy of tensors that lie in main memory, if these do: it is there until what reads them is done."""
        return self.arena.take(sum(size for part, size in self.lent if part in parts)) if self.lent else NOTHING

    def take(self, width: int, extra_bytes: int = 0) -> Block:
        """A tensor of so many values of 32 bits for each token, and bytes beside."""
        return self.arena.take(width * self.step.rows * 4 + extra_bytes)

    def product(self, width: int, *parts: Part) -> Block:
        """What a matrix makes, whose copy is gone then."""
        copy = self.borrow(*parts)
        if copy[1] and self.next_masks_bytes and Part.DOWN_EXPERTS in parts:
            self.next_masks = self.arena.take(self.next_masks_bytes)
        out = self.take(width)
        self.give(copy)
        return out

    def take_bytes(self, size: int) -> Block:
        """A tensor of so many bytes."""
        return self.arena.take(size)

    def give(self, *blocks: Block) -> None:
        """Tensors that nothing reads any more."""
        self.arena.give(*blocks)
