"""What a layer computes of a token, as llama.cpp's graphs lay it out: widths of its tensors, in values of 32 bits."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from planner.engines.llamacpp.layers import EXPERTS, Part
from planner.facts.attention import Attention
from planner.facts.record import dataclass


class Mixer(StrEnum):
    """How a layer joins the tokens."""

    ATTENTION = "attention"
    LATENT = "latent attention"
    DELTA = "gated delta net"
    KDA = "Kimi delta attention"
    MAMBA2 = "Mamba 2"
    SHORT_CONVOLUTION = "short convolution"
    NONE = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A layer. Of attention: `queries`, `keys` and `values` of a token, what comes `out` of it; `cache` is the one it reads, its own or a borrowed one.

    `joined`: one matrix makes queries, keys and values. `gate`: what the output is multiplied by, made by a matrix of its own; `gated_query`: with the queries.
    Of a state: `convolved` values go through its convolution, `inner` come out, `state_bytes` and `kept_bytes` (the convolution's) are a sequence's.
    `experts` are chosen among by a router; `wide` values of those that are used, `experts_out` of what they put out together. `dense` is the feed-forward
    block's width, beside experts that of the shared one; `is_gated`, `experts_gated`: a matrix beside `up`. `beside`: the block reads what attention reads. `norms_heads`, `adds_to_heads`: queries are normed, or have a bias, before they are turned; `ends_small`: behind the last matrix a norm, a bias or a gate is read; `experts_biased`: banks of experts have a bias each; `keeps_residual`, `keeps_behind`: a sum lies where the hidden states lay, always or behind the feed-forward block. `has_factors`: positions turn by a table of factors; `scales_queries`: queries that are not turned are scaled by their position; `spread`: the latent vector's width that keys and values of every head are made of. `has_streams`: hidden states come in several (streams.py), and a path of `low` values goes past attention.
    """

    mixer: Mixer = Mixer.NONE
    cache: Attention | None = None
    queries: int = 0
    keys: int = 0
    values: int = 0
    out: int = 0
    low: int = 0
    rope: int = 0
    heads: int = 0
    gate: int = 0
    gated_query: bool = False
    joined: bool = False
    convolved: int = 0
    inner: int = 0
    projected: int = 0
    state_bytes: int = 0
    kept_bytes: int = 0
    experts: int = 0
    wide: int = 0
    experts_out: int = 0
    experts_gated: bool = True
    experts_fused: bool = False
    dense: int = 0
    is_gated: bool = True
    dense_fused: bool = False
    beside: bool = False
    is_turned: bool = True
    keys_first: bool = False
    norms_values: bool = False
    norms_heads: bool = False
    adds_to_heads: bool = False
    ends_small: bool = False
    has_streams: bool = False
    keys_are_values: bool = False
    has_bias: bool = False
    gates_shared: bool = False
    keeps_residual: bool = False
    keeps_behind: bool = False
    weighed_before: bool = False
    experts_biased: bool = False
    has_factors: bool = False
    spread: int = 0
    scales_queries: bool = False

    def bias_bytes(self, parts: Sequence[Part], hidden: int) -> int:
        """What is added to what a bank of experts puts out, in 32 bits: a tensor of its own."""
        if not self.experts_biased or parts[0] not in EXPERTS:
            return 0
        return self.experts * 4 * (hidden if parts[0] is Part.DOWN_EXPERTS else self.wide * hidden // self.experts_out)

    @property
    def deltas(self) -> int:
        """Heads of a delta net, each with a square of its own as a state."""
        return 4 * self.inner**2 // self.state_bytes

    @property
    def turns_later(self) -> bool:
        """Whether something else is read between the matrix of the queries and their positions."""
        return self.norms_heads or self.adds_to_heads or self.mixer is Mixer.LATENT
