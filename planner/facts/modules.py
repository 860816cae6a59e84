"""The parameters of a model: matrices, banks of experts, other tensors, and how each dimension is divided over ranks.

A module's size on one rank follows from its dimensions, from how each is split, and from how it is stored.
"""

from __future__ import annotations

from enum import StrEnum

from planner.facts.record import dataclass
from planner.facts.storage import BF16, Storage


class Split(StrEnum):
    """How a dimension is divided over the ranks of a tensor-parallel group."""

    WHOLE = "whole"  # every rank holds all of it
    TP = "tp"  # size / tp, must divide, and the units (heads) where there are any
    HEADS = "heads"  # in units (heads) shared out; replicated once ranks outnumber units
    GROUPS = "groups"  # in units (groups of a Mamba 2 state), a single one replicated
    EVEN = "even"  # size / tp where tp divides the units, else every rank holds all of it
    VOCAB = "vocab"  # padded to a multiple of 64, then / tp


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension: `size` elements, split in `units` indivisible parts (heads) where that matters."""

    size: int
    split: Split = Split.WHOLE
    units: int = 0


class Role(StrEnum):
    """What a matrix does in its layer; of a fused one, what its outputs are, in order. The architecture's builder says it."""

    QKV = "q, k, v"
    QUERY = "q"
    KEY = "k"
    VALUE = "v"
    LATENT = "latent"  # into or out of a latent space (MLA)
    ATTENTION_OUTPUT = "o"
    DELTA = "q, k, v, z"  # of the gated delta rule
    MIXER = "mixer"  # anything else of a recurrent or convolving layer
    GATE_UP = "gate, up"
    GATE = "gate"
    UP = "up"
    DOWN = "down"
    ROUTER = "router"  # weighs experts, the shared one too
    HEAD = "head"
    PROJECTION = "projection"  # of a tower, an indexer, a residual stream: what no runtime treats apart


class TensorRole(StrEnum):
    """What any other parameter is."""

    EMBEDDING = "embedding"
    NGRAMS = "n-gram embedding"  # looked up by the last words together; may lie in main memory
    ADDEND = "addend"  # biases and sinks: read by the kernel that they belong to
    CACHE_SCALE = "cache scale"  # vLLM's own, of a quantized KV cache
    PARAMETER = "parameter"  # norms, convolutions, decays: a kernel of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A (fused) linear layer: weight [sum(outputs), inputs], optional bias [sum(outputs)]; a rank's rows padded to `rows_multiple`."""

    name: str
    role: Role
    inputs: Axis
    outputs: tuple[Axis, ...]
    bias: bool = False
    storage: Storage = BF16
    rows_multiple: int = 1
    whole_storage: Storage | None = None
    """How it is stored where no ranks divide it, if otherwise: a class that makes its towers' matrices anew, quantized, for several ranks only."""
    as_shared_expert: bool = False
    """Whether it is whole on every rank where shared experts are (a class that builds its dense MLPs so)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """The routed experts of one layer: w13 [experts, shards x intermediate, hidden] and w2 [experts, hidden, intermediate]."""

    name: str
    experts: int
    hidden: int
    intermediate: int
    shards: int = 2  # gate and up; 1 where the activation is not gated
    minimum_width: int = 0  # what a tensor-parallel slice of the intermediate size is padded to
    bias: bool = False
    bias_bits: int = 16
    storage: Storage = BF16


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Another parameter or buffer: the product of its axes, `bits` each."""

    name: str
    axes: tuple[Axis, ...]
    bits: int = 16
    role: TensorRole = TensorRole.PARAMETER


FILM_TABLE = "rotary_emb.cos_sin_cache of three positions"  # of a class that in some releases of vLLM kept it as long as the positions of films

Module = Linear | Experts | Tensor
