"""llama.cpp's graph of a text for an encoder of BERT's kin, which keeps no cache: every token against every other of its micro-batch.

Read off v0.5.0 (tests/oracle/llamacpp_encoders.py); src/models/bert.cpp, src/llama-graph.cpp build_attn_inp_no_cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from planner.engines.llamacpp.arena import NOTHING, Arena, Block
from planner.engines.llamacpp.backend import Backend
from planner.engines.llamacpp.builds import BOTH_INPUTS, MASK_IS_HALF
from planner.engines.llamacpp.desk import Lent
from planner.engines.llamacpp.layers import Part
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.model import GgufModel
from planner.facts.record import dataclass

_KIN = ("bert", "xlmroberta", "roberta", "nomicbert")
_TURNED = "nomic"  # whose queries and keys are turned by their position, which others have embeddings for
_NO_KERNEL = 32  # heads of the smallest, of which CUDA has no flash attention (ggml-cuda/fattn.cu)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """A micro-batch of `rows` tokens in a model; `mask_bytes` as they arrive, `cast_bytes` where they are copied into 16 bits."""

    rows: int
    hidden: int
    wide: int
    heads: int
    is_gated: bool
    is_turned: bool
    flash: bool
    is_elsewhere: bool
    mask_bytes: int
    cast_bytes: int


def is_encoder(model: GgufModel) -> bool:
    """Whether a model is one of them."""
    return not model.caches and _plain(model).startswith(_KIN) and bool(model.flows)


def _plain(model: GgufModel) -> str:
    return model.architecture.lower().replace("_", "").replace("-", "")


def encoder_bytes(model: GgufModel, config: LlamaCppConfig, lent: Sequence[Lent] = ()) -> int:
    """The compute buffer of a device; `lent`: what of each layer lies in main memory."""
    return _peak(_shape(model, config), tuple(lent) or (Lent(),) * min(3, model.layer_count))


def encoder_host_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """The one in main memory: the mask, and embeddings of tokens and of positions; attention too where the card has no kernel for it and is not let off."""
    shape = _shape(model, config)
    states = 4 * shape.rows * shape.hidden
    made = (1 + (config.build >= BOTH_INPUTS) + (not shape.is_turned)) * states
    return shape.mask_bytes + max(made, 4 * states if shape.is_elsewhere else 0) + 8 * shape.rows


def _shape(model: GgufModel, config: LlamaCppConfig) -> _Shape:
    rows, flow = min(config.ubatch, config.cells), model.flows[0]
    has_kernel = config.backend not in (Backend.CUDA, Backend.HIP, Backend.OPEN) or model.hidden // model.heads > _NO_KERNEL
    flash = config.flash_attention and (has_kernel or config.insists_on_flash)
    is_half = config.build >= MASK_IS_HALF
    return _Shape(
        rows=rows,
        hidden=model.hidden,
        wide=flow.dense,
        heads=model.heads,
        is_gated=flow.is_gated,
        is_turned=_plain(model).startswith(_TURNED),
        flash=flash,
        is_elsewhere=flash and not has_kernel,
        mask_bytes=rows * rows * (2 if flash and is_half else 4),
        cast_bytes=rows * rows * 2 if flash and not is_half else 0,
    )


@lru_cache(maxsize=256)
def _peak(shape: _Shape, lent: tuple[Lent, ...]) -> int:
    states = 4 * shape.rows * shape.hidden
    start = (0, states)
    is_lent = any(own.parts for own in lent[:1])
    is_there = not is_lent and not shape.is_elsewhere
    desk = _Desk(Arena((start,)), shape, start)
    if is_there:
        desk.mask = desk.arena.take(shape.mask_bytes)
    for own in lent:
        desk.walk(dict(own.parts))
    return desk.arena.peak


@dataclass(slots=True)
class _Desk:
    """Layers one behind the other: where the hidden states lie, and the mask from when it is there."""

    arena: Arena
    shape: _Shape
    states: Block
    mask: Block = NOTHING
    is_cast: bool = False

    def walk(self, parts: dict[Part, int]) -> None:
        """A layer, of which so many bytes lie in main memory."""
        out = self._attended(*self._heads(parts))
        projected = self._product(self.shape.hidden, parts.get(Part.OUT, 0))
        self.arena.give(out)
        self._add(projected)
        wide = self.shape.wide
        act = self._product(wide, parts.get(Part.UP, 0))
        if self.shape.is_gated:
            gate = self._product(wide, parts.get(Part.GATE, 0))
            both, act = (act, gate), self._take(wide)
            self.arena.give(*both)
        fed = self._product(self.shape.hidden, parts.get(Part.DOWN, 0))
        self.arena.give(act)
        self._add(fed)

    def _add(self, block: Block) -> None:
        """The sum lies in the place of what is added; what its norm makes of it does not."""
        self.arena.give(self.states)
        self.states = self._take(self.shape.hidden)
        self.arena.give(block)

    def _take(self, width: int) -> Block:
        return self.arena.take(4 * self.shape.rows * width)

    def _product(self, width: int, lent_bytes: int) -> Block:
        """What a matrix makes, whose copy is gone then."""
        copy = self.arena.take(lent_bytes)
        out = self._take(width)
        self.arena.give(copy)
        return out

    def _heads(self, parts: dict[Part, int]) -> tuple[Block, Block, Block]:
        """Queries, keys and values; to a copied layer the mask comes with the last bias (where one matrix makes them, up to 12 % less than the library says)."""
        hidden = self.shape.hidden
        if self.shape.is_turned:
            values = self._product(3 * hidden, parts.get(Part.JOINED, 0))
            queries, keys = self._take(hidden), self._take(hidden)
        else:
            queries, keys, values = (self._product(hidden, parts.get(part, 0)) for part in (Part.QUERY, Part.KEY, Part.VALUE))
        if not self.mask[1] and not self.shape.is_elsewhere:
            bias = self.arena.take(4 * hidden)
            self.mask = self.arena.take(self.shape.mask_bytes)
            self.arena.give(bias)
        return queries, keys, values

    def _attended(self, queries: Block, keys: Block, values: Block) -> Block:
        shape, arena = self.shape, self.arena
        if not shape.flash:
            turned = self._take(shape.hidden)
            arena.give(values)
            scores = arena.take(4 * shape.rows * shape.rows * shape.heads)
            arena.give(queries, keys)
            seen = self._take(shape.hidden)
            arena.give(turned, scores)
            out = self._take(shape.hidden)
            arena.give(seen)
            return out
        half = 2 * shape.rows * shape.hidden
        short_keys = arena.take(half)
        arena.give(keys)
        short_values = arena.take(half)
        arena.give(values)
        if shape.cast_bytes and not self.is_cast and not shape.is_elsewhere:
            halves = arena.take(shape.cast_bytes)
            arena.give(self.mask)
            self.mask, self.is_cast = halves, True
        out = self._take(shape.hidden)
        arena.give(queries, short_keys, short_values)
        return out
