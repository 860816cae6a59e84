"""What attention keeps of a sequence: a closed union of kinds of cache.

Whoever must know a kind matches all of them or asks one of the functions at the end, so that a new kind fails the type check
wherever nobody has thought of it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from planner.facts.modules import Split, Tensor
from planner.facts.record import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class FullAttention:
    """Keys and values of every token."""

    kv_heads: int
    head_dim: int
    head_dim_v: int
    sinks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidingWindow:
    """Keys and values of the last `window` tokens."""

    kv_heads: int
    head_dim: int
    head_dim_v: int
    window: int
    sinks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkedLocal:
    """Keys and values of the current chunk of `chunk` tokens."""

    kv_heads: int
    head_dim: int
    head_dim_v: int
    chunk: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossAttention:
    """Keys and values of what an encoder heard, beside those of the text: of each request as much as one batch of the encoder can hold."""

    kv_heads: int
    head_dim: int
    head_dim_v: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttention:
    """MLA: one latent vector a token, the same on every rank. A sparse indexer's own cache has only `index_dim` bytes."""

    latent_dim: int
    rope_dim: int
    index_dim: int = 0
    sparse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedCache:
    """An entry of `entry_bytes` for every `tokens_per_entry` tokens, the same on every rank: of all tokens, or of the last `window`.

    `block_size` is its own, whatever the backend's, 0: the backend's; pages are padded to a multiple of `page_multiple` bytes.
    `ring`: the last tokens lie in one block of a request, overwritten in turn.
    """

    entry_bytes: int
    block_size: int
    tokens_per_entry: int = 1
    window: int = 0
    page_multiple: int = 1
    ring: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentState:
    """Mamba2 or linear attention: a state of fixed size a sequence, `tensors` with their bits.

    `checkpoint_alignment`: prefill checkpoints land on multiples of so many tokens: 1 always, more where the GPU's kernel exports them,
    0 never.
    """

    tensors: tuple[Tensor, ...]
    checkpoint_alignment: int = 1

    @property
    def is_replicated(self) -> bool:
        """Whether every rank holds all of it."""
        return all(axis.split is Split.WHOLE for tensor in self.tensors for axis in tensor.axes)


Attention = FullAttention | SlidingWindow | ChunkedLocal | CrossAttention | LatentAttention | CompressedCache | RecurrentState
PerHead = FullAttention | SlidingWindow | ChunkedLocal | CrossAttention  # keys and values of every head, token by token


class CacheKind(StrEnum):
    """What a cache holds, in the words of vLLM's KV cache specs."""

    PER_HEAD = "per head"
    LATENT = "latent"
    COMPRESSED = "compressed"
    STATE = "state"


def cache_kind(cache: Attention) -> CacheKind:
    """What a cache holds."""
    match cache:
        case FullAttention() | SlidingWindow() | ChunkedLocal() | CrossAttention():
            return CacheKind.PER_HEAD
        case LatentAttention():
            return CacheKind.LATENT
        case CompressedCache():
            return CacheKind.COMPRESSED
        case RecurrentState():
            return CacheKind.STATE
        case _:
            assert_never(cache)


def per_head(cache: Attention) -> PerHead | None:
    """The cache where it has keys and values of every head, else None."""
    match cache:
        case FullAttention() | SlidingWindow() | ChunkedLocal() | CrossAttention():
            return cache
        case LatentAttention() | CompressedCache() | RecurrentState():
            return None
        case _:
            assert_never(cache)


def window(cache: Attention) -> int | None:
    """How many tokens back a cache reaches; None for all of them, and for a state, which holds no tokens."""
    match cache:
        case SlidingWindow():
            return cache.window
        case ChunkedLocal():
            return cache.chunk
        case CompressedCache():
            return cache.window or None
        case FullAttention() | CrossAttention() | LatentAttention() | RecurrentState():
            return None
        case _:
            assert_never(cache)


def has_sinks(cache: Attention) -> bool:
    """Whether queries attend to a learned sink beside the tokens."""
    match cache:
        case FullAttention() | SlidingWindow():
            return cache.sinks
        case ChunkedLocal() | CrossAttention() | LatentAttention() | CompressedCache() | RecurrentState():
            return False
        case _:
            assert_never(cache)


def without_sinks(cache: Attention) -> Attention:
    """The cache as layers share it: what lies in its pages tells nothing of sinks."""
    return replace(cache, sinks=False) if has_sinks(cache) and isinstance(cache, FullAttention | SlidingWindow) else cache
