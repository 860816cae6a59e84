"""What a model is: weights by module, layers by group, attention by kind. Facts only, no arithmetic.

A module's size on one rank follows from its dimensions and from how each is split; quantization is a
tuple of `Plane`s, so nothing downstream needs to know the name of a format.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Split(StrEnum):
    """How a dimension is divided over the ranks of a tensor-parallel group."""

    WHOLE = "whole"  # every rank holds all of it
    TP = "tp"  # size / tp, must divide
    HEADS = "heads"  # in units (heads) shared out; replicated once ranks outnumber units
    EVEN = "even"  # size / tp where tp divides the units, else every rank holds all of it
    VOCAB = "vocab"  # padded to a multiple of 64, then / tp


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension: `size` elements, split in `units` indivisible parts (heads) where that matters."""

    size: int
    split: Split = Split.WHOLE
    units: int = 0


@dataclass(frozen=True, slots=True)
class Plane:
    """One tensor of a stored weight: a value of `bits` for every block of rows x columns of the matrix.

    `row_block` 0: one value for each fused part (q, k, v are three); -1: one for all rows.
    `column_block` 0: one value for all columns.
    """

    bits: int
    row_block: int = 1
    column_block: int = 1
    extra_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Storage:
    """How a matrix is stored: its planes, and what a shard must be a multiple of."""

    name: str
    planes: tuple[Plane, ...]
    input_multiple: int = 1
    output_multiple: int = 1


BF16 = Storage(name="16-bit", planes=(Plane(16),))
FP32 = Storage(name="32-bit", planes=(Plane(32),))
ROUTER = Storage(name="router", planes=(Plane(16),))  # 32 bits where the GPU lacks vLLM's 16-bit router kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A (fused) linear layer: weight [sum(outputs), inputs], optional bias [sum(outputs)]; a rank's rows padded to `rows_multiple`."""

    name: str
    inputs: Axis
    outputs: tuple[Axis, ...]
    bias: bool = False
    storage: Storage = BF16
    rows_multiple: int = 1


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
    storage: Storage = BF16


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Any other parameter or buffer: the product of its axes, `bits` each."""

    name: str
    axes: tuple[Axis, ...]
    bits: int = 16


Module = Linear | Experts | Tensor


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
class LatentAttention:
    """MLA: one latent vector a token, the same on every rank. A sparse indexer's own cache has only `index_dim` bytes."""

    latent_dim: int
    rope_dim: int
    index_dim: int = 0
    sparse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedCache:
    """An entry of `entry_bytes` for every `tokens_per_entry` tokens, the same on every rank: of all tokens, or of the last `window`.

    `block_size` is its own, whatever the backend's; pages are padded to a multiple of `page_multiple` bytes.
    """

    entry_bytes: int
    block_size: int
    tokens_per_entry: int = 1
    window: int = 0
    page_multiple: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentState:
    """Mamba2 or linear attention: a state of fixed size a sequence, `tensors` with their bits.

    `checkpoint_alignment`: prefill checkpoints land on multiples of so many tokens: 1 always, more where the GPU's kernel exports them,
    0 never.
    """

    tensors: tuple[Tensor, ...]
    checkpoint_alignment: int = 1


Attention = FullAttention | SlidingWindow | ChunkedLocal | LatentAttention | CompressedCache | RecurrentState


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGroup:
    """Layers that are alike: their indices, what each holds, the caches of each (most have one, an MLP layer none)."""

    indices: tuple[int, ...]
    modules: tuple[Module, ...]
    caches: tuple[Attention, ...]


@dataclass(frozen=True, slots=True)
class CheckpointDifference:
    """Bytes that are loaded of the checkpoint's tensors against what the config gives, whole model, and which tensors tell them apart."""

    stored_bytes: int
    derived_bytes: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFormat:
    """How a chat model writes tool calls and reasoning, in vLLM's names: what its server must be told so that agents can use them."""

    tool_parser: str | None = None
    reasoning_parser: str | None = None
    tokenizer_mode: str | None = None
    content_format: str | None = None  # --chat-template-content-format
    mistral_files: bool = False  # served from Mistral's own files: params.json, tekken.json, consolidated weights
    remote_code: bool = False  # the checkpoint brings its tokenizer as code
    example_template: str | None = None  # a chat template of vLLM's examples folder, which its wheel does not hold


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model as far as memory is concerned."""

    name: str
    architecture: str
    quantization: str | None
    max_position_embeddings: int
    hidden_size: int
    intermediate_size: int
    vocab_size: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    first: tuple[Module, ...]  # embedding and vision tower: first pipeline stage
    layers: tuple[LayerGroup, ...]
    last: tuple[Module, ...]  # final norm and head: last pipeline stage
    every: tuple[Module, ...] = ()  # what some classes build on every stage, used or not
    tied_copy: tuple[Module, ...] = ()  # the embedding again on the last of several stages, where it is the head too
    buffers: tuple[Tensor, ...] = ()
    experts_per_token: int = 0
    expert_intermediate: int = 0
    dtype: str = "bfloat16"
    kv_cache_dtype: str = "auto"  # what the checkpoint asks for when the user says auto
    vision: VisionSpec | None = None
    bidirectional_images: bool = False  # image tokens attend in both directions (vLLM's is_mm_prefix_lm)
    residual_streams: int = 1  # hidden states carried side by side (hyper-connections)
    bytes_per_batched_token: int = 0  # what the model sets aside at load for each token of a batch
    checkpoint: CheckpointDifference | None = None  # where the checkpoint's own tensors disagree with its config
    pooling: bool = False
    chat: ChatFormat | None = None  # None where nobody looked it up
    pipeline: bool = True  # whether vLLM can split its layers over pipeline stages
    family: str = ""

    @property
    def layer_count(self) -> int:
        """Number of decoder layers."""
        return sum(len(group.indices) for group in self.layers)

    @property
    def heads_shared(self) -> bool:
        """Whether several query heads share a key-value head."""
        return self.kv_heads < self.attention_heads

    @property
    def caches(self) -> tuple[Attention, ...]:
        """The distinct kinds of cache."""
        return tuple(dict.fromkeys(cache for group in self.layers for cache in group.caches))

    @property
    def is_encoder(self) -> bool:
        """Whether no layer keeps a cache."""
        return not self.caches

    @property
    def has_state(self) -> bool:
        """Whether any layer keeps a recurrent state."""
        return any(isinstance(cache, RecurrentState) for cache in self.caches)

    @property
    def has_window(self) -> bool:
        """Whether any layer forgets tokens (sliding window or chunk)."""
        return any(isinstance(cache, SlidingWindow | ChunkedLocal) or (isinstance(cache, CompressedCache) and cache.window > 0) for cache in self.caches)

    @property
    def has_sinks(self) -> bool:
        """Whether any layer uses attention sinks."""
        return any(isinstance(cache, FullAttention | SlidingWindow) and cache.sinks for cache in self.caches)

    @property
    def is_latent(self) -> bool:
        """Whether attention is MLA."""
        return any(isinstance(cache, LatentAttention) for cache in self.caches)

    @property
    def is_compressed(self) -> bool:
        """Whether every cache is compressed (DeepSeek V4)."""
        return bool(self.caches) and all(isinstance(cache, CompressedCache) for cache in self.caches)

    @property
    def is_sparse(self) -> bool:
        """Whether attention is MLA with a sparse indexer."""
        return any(isinstance(cache, LatentAttention) and cache.sparse for cache in self.caches)


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionSpec:
    """The vision tower as far as its profiling batch is concerned."""

    hidden_size: int
    intermediate_size: int
    heads: int
    max_patches: int  # of one image at the largest resolution
    tokens_per_item: int  # embeddings handed to the language model for that image
    extra_outputs: int = 0  # deepstack levels
