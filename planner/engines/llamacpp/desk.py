"""A micro-batch, and the buffer in which a layer's tensors lie while it is computed."""

from __future__ import annotations

from collections.abc import Callable

from planner.engines.llamacpp.arena import NOTHING, Arena, Block
from planner.engines.llamacpp.flow import Flow, Mixer
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


@dataclass(frozen=True, slots=True)
class Lent:
    """What of a layer lies in main memory and is copied for each batch: bytes of its tensors by part, its keys and its values. `is_whole`: all of it lies there; else the cache is another layer's."""

    parts: tuple[tuple[Part, int], ...] = ()
    is_whole: bool = False
    keys_bytes: int = 0
    values_bytes: int = 0

    @property
    def last(self) -> Part:
        """The last matrix that is copied, with which comes what the layers behind it are the first to read."""
        return Part.DOWN if any(part is Part.DOWN for part, _ in self.parts) else Part.DOWN_EXPERTS


@dataclass(frozen=True, slots=True)
class Late:
    """Bytes of inputs that are sent when a layer is the first to read them.

    With its first matrix (or what norms its heads), with that of its values, with its cache, or with its last matrix for layers behind it: masks, and
    places of values and caches that they borrow.
    """

    first: int = 0
    values: int = 0
    cache: int = 0
    last: int = 0
    others: int = 0


NOT_LENT, NOT_LATE = Lent(), Late()

_FIRST, _VALUES = (Part.QUERY, Part.JOINED), (Part.VALUE, Part.JOINED)


@dataclass(slots=True)
class Desk:
    """One layer at work: where the hidden states lie that it adds to, and the masks; inputs that come `late` lie in `came`."""

    step: Step
    flow: Flow
    arena: Arena
    residual: Block
    masks: Block
    lent: Lent = NOT_LENT
    late: Late = NOT_LATE
    came: tuple[Block, ...] = ()
    normed: Block = NOTHING
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

    def borrow(self, *parts: Part, share: tuple[int, int] = (1, 1)) -> Block:
        """The copy of tensors that lie in main memory, if these do, or of a share of them: it is there until what reads them is done."""
        return self.arena.take(sum(size for part, size in self.lent.parts if part in parts) * share[0] // share[1]) if self.lent.parts else NOTHING

    def take(self, width: int, extra_bytes: int = 0) -> Block:
        """A tensor of so many values of 32 bits for each token, and bytes beside."""
        return self.arena.take(width * self.step.rows * 4 + extra_bytes)

    def product(self, width: int, *parts: Part) -> Block:
        """What a matrix makes, whose copy is gone then."""
        copy = self.borrow(*parts)
        if parts[0] in _FIRST and not self.flow.turns_later:
            self.send(self.late.first)
        if parts[0] in _VALUES:
            self.send(self.late.values)
        if self.lent.last in parts and not (self.lent.is_whole and self.flow.ends_small):
            self.send_rest()
        out = self.take(width)
        self.give(copy)
        if parts[0] in _FIRST and self.flow.adds_to_heads and not self.flow.norms_heads:
            self.send(self.late.first)
        return out

    def send_cache(self) -> tuple[Block, Block]:
        """Copies of keys and values that lie in main memory, with masks that nothing read before."""
        if not self.lent.is_whole:
            return NOTHING, NOTHING
        keys = self.arena.take(self.lent.keys_bytes)
        if self.step.flash_attention or self.flow.mixer is Mixer.LATENT:
            values = self.arena.take(self.lent.values_bytes)
            self.send(self.late.cache)
            return keys, values
        self.send(self.late.cache)
        return keys, self.arena.take(self.lent.values_bytes)

    def send_rest(self) -> None:
        """Inputs for layers behind this one."""
        self.send(self.late.others)
        self.send(self.late.last)

    def send(self, size: int) -> None:
        """Inputs that come now, of so many bytes; they stay."""
        if size:
            self.came = (*self.came, self.arena.take(size))

    def take_normed(self) -> Block:
        """The hidden states, normed: they came so from another card, or are made here."""
        block, self.normed = self.normed, NOTHING
        return block if block[1] else self.take(self.step.hidden)

    def take_bytes(self, size: int) -> Block:
        """A tensor of so many bytes."""
        return self.arena.take(size)

    def give(self, *blocks: Block) -> None:
        """Tensors that nothing reads any more."""
        self.arena.give(*blocks)
