"""A micro-batch, and the buffer in which a layer's tensors lie while it is computed."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from planner.engines.llamacpp.arena import NOTHING, Arena, Block
from planner.engines.llamacpp.flow import Flow, Mixer
from planner.engines.llamacpp.layers import Part
from planner.facts.attention import Attention
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A micro-batch: `rows` tokens of `sequences`, against `masks_bytes` of masks, `window_mask_bytes` of them of windows.

    `cast_bytes`: the masks in the 32 bits that they arrive in, where they are copied. `positions` of each token: several where images have rows and
    columns; `places`: bytes that tell where a token's values go, in caches of all and in windows, nothing where they are copied into a
    view. `layer_inputs`: values of a token that all layers read (per-layer embeddings), `inputs_a_layer` each; `deep`: values that arrive beside the hidden state for the first layers. `cells` and
    `copied` tell of a cache how many tokens a query is held against, and the bytes of its copies in 16 bits; `turns_keys`, `turns_values`: whether they are rotated before they are quantized;
    `turns_cache`: a copy of the values is transposed; `is_early`: a build before the end of June 2025: there
    a gate's product lies in its place, keys are made before values, parts of a joined matrix are copied, and masks come behind positions
    (later builds have wide masks first where a layer keeps a state).
    `picks`: the last layer feeds all tokens forward, of which `logits_bytes` of logits are made.
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
    places: tuple[int, ...] = ()
    deep: int = 0
    positions: int = 1
    turns_cache: bool = False
    is_early: bool = False
    picks: bool = False
    logits_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Lent:
    """What of a layer lies in main memory and is copied for each batch: bytes of its tensors by part, and where all of it does (`is_whole`) its keys and its values."""

    parts: tuple[tuple[Part, int], ...] = ()
    is_whole: bool = False
    keys_bytes: int = 0
    values_bytes: int = 0

    @property
    def last(self) -> Part:
        """The last matrix that is copied, with which comes what the layers behind it are the first to read."""
        return Part.DOWN if any(part is Part.DOWN for part, _ in self.parts) else Part.DOWN_EXPERTS


class Sent(StrEnum):
    """What of a batch is sent to a device, beside hidden states: masks and places stay, the others go with the layer that reads them."""

    MASK = "mask"
    PLACES = "places"
    KEYS = "keys"
    VALUES = "values"
    SLICE = "a layer's inputs"
    PICKS = "tokens whose logits are wanted"

    @property
    def stays(self) -> bool:
        """Whether further layers read it."""
        return self in (Sent.MASK, Sent.PLACES, Sent.PICKS)


@dataclass(frozen=True, slots=True)
class Read:
    """So many bytes that a layer is the first to read, and another the last; -1: they stay to the end."""

    layer: int
    what: Sent
    bytes: int
    last: int = -1

    def is_last(self, layer: int) -> bool:
        """Whether nothing behind a layer reads it."""
        return layer == (self.last if self.what.stays else self.layer)


@dataclass(frozen=True, slots=True)
class Late:
    """What is sent when a layer is the first to read it: bytes with its first matrix (or what norms its heads), when positions turn by a table, with the matrix of its values, with its cache.

    `rest` comes with the last of the layer that lies in main memory, for layers behind it.
    """

    first: int = 0
    factors: int = 0
    values: int = 0
    cache: int = 0
    rest: tuple[Read, ...] = ()


NOT_LENT, NOT_LATE = Lent(), Late()

Came = tuple[Read, Block]
"""What was sent, and where it lies."""

_FIRST, _VALUES = (Part.QUERY, Part.JOINED), (Part.VALUE, Part.JOINED)


@dataclass(slots=True)
class Desk:
    """One layer at work: where the hidden states lie that it adds to, and the masks where they are cast; inputs that come `late` lie in `came`.

    `waiting` lies there for this layer alone; `is_elsewhere`: another device computes its experts.
    """

    step: Step
    flow: Flow
    arena: Arena
    residual: Block
    masks: Block
    lent: Lent = NOT_LENT
    late: Late = NOT_LATE
    came: tuple[Came, ...] = ()
    waiting: tuple[Came, ...] = ()
    is_elsewhere: bool = False
    normed: Block = NOTHING
    joined: Block = NOTHING
    inputs: Block = NOTHING
    arrived: Block = NOTHING
    joins: bool = False

    def join_inputs(self) -> None:
        """Per-layer embeddings joined with what the hidden states that arrived give, which only the first layer has; where they lie then."""
        if not (self.joins and self.step.layer_inputs):
            return
        matrix = 2 * self.step.layer_inputs * self.step.hidden if self.lent.is_whole else 0  # in 16 bits, where the first layer lies (src/llama-quant.cpp)
        copy = self.arena.take(matrix)
        made = self.take(self.step.layer_inputs)
        self.give(copy, self.arrived)
        scaled = self.take(self.step.layer_inputs)
        self.give(made, self.inputs)
        self.inputs = self.take(self.step.layer_inputs)
        self.give(scaled)

    def borrow(self, *parts: Part, share: tuple[int, int] = (1, 1), less: int = 0) -> Block:
        """The copy of tensors that lie in main memory, if these do, or of a share of them, or of all but so many bytes: it is there until what reads them is done."""
        size = sum(size for part, size in self.lent.parts if part in parts) if self.lent.parts else 0
        return self.arena.take(size * share[0] // share[1] - less) if size else NOTHING

    def _router_bytes(self) -> int:
        """What chooses experts, in 32 bits, and what weighs the shared one: they count as its gate by their names."""
        return 4 * self.step.hidden * (self.flow.experts + (self.flow.gates_shared and self.flow.experts > 0))

    def borrow_router(self) -> Block:
        """The copy of what chooses experts."""
        is_lent = any(part is Part.GATE for part, _ in self.lent.parts)
        return self.arena.take(4 * self.step.hidden * self.flow.experts if is_lent else 0)

    def take(self, width: int, extra_bytes: int = 0) -> Block:
        """A tensor of so many values of 32 bits for each token, and bytes beside."""
        return self.arena.take(width * self.step.rows * 4 + extra_bytes)

    def product(self, width: int, *parts: Part) -> Block:
        """What a matrix makes, whose copy is gone then."""
        copy = self.borrow(*parts, less=self.flow.bias_bytes(parts, self.step.hidden) + (self._router_bytes() if parts[0] is Part.GATE else 0))
        if parts[0] in _FIRST and not self.flow.turns_later:
            self.send(self.late.first)
        if parts[0] in _VALUES:
            self.send(self.late.values)
        if self.lent.last in parts and not (self.lent.is_whole and self.flow.ends_small) and not self.flow.bias_bytes(parts, self.step.hidden):
            self.send_rest()
        out = self.take(width)
        self.give(copy)
        if parts[0] in _FIRST and self.flow.adds_to_heads and not self.flow.norms_heads:
            self.send_first(self.flow.queries)
        return out

    def add_bias(self, part: Part) -> None:
        """What is added to what a bank of experts puts out."""
        if (bias := self.flow.bias_bytes((part,), self.step.hidden)) and any(own is part for own, _ in self.lent.parts):
            copy = self.arena.take(bias)
            if self.lent.last is part and not (self.lent.is_whole and self.flow.ends_small):
                self.send_rest()
            self.give(copy)

    def send_cache(self) -> tuple[Block, Block]:
        """Copies of keys and values that lie elsewhere, with masks that nothing read before; those of another layer came before."""
        if not self.lent.is_whole:
            return self.came_as(Sent.KEYS), self.came_as(Sent.VALUES)
        keys = self.arena.take(self.lent.keys_bytes)
        if self.step.flash_attention or self.flow.mixer is Mixer.LATENT:
            values = self.arena.take(self.lent.values_bytes)
            self.send(self.late.cache)
            return keys, values
        self.send(self.late.cache)
        return keys, self.arena.take(self.lent.values_bytes)

    def came_as(self, what: Sent) -> Block:
        """Where it lies, if it came for this layer."""
        return next((block for read, block in self.waiting if read.what is what), NOTHING)

    def expire(self) -> None:
        """Masks and places that no further layer reads."""
        for read, block in self.waiting:
            if read.what.stays and read.what is not Sent.PICKS:
                self.give(self.masks if read.what is Sent.MASK and self.masks[1] else block)

    def send_rest(self) -> None:
        """Inputs for layers behind this one."""
        self.came = (*self.came, *((read, self.arena.take(read.bytes)) for read in self.late.rest))

    def send_first(self, width: int) -> None:
        """What comes with a row of so many values, which is gone at once: so little, and what lay before it has another size then."""
        row = self.arena.take(4 * width if self.late.first else 0)
        self.send(self.late.first)
        self.give(row)

    def send(self, size: int) -> None:
        """Inputs that come now, of so many bytes; they stay."""
        if size:
            self.came = (*self.came, (Read(0, Sent.MASK, size), self.arena.take(size)))

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
