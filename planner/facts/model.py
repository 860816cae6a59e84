"""What a model is as far as memory is concerned: layers by group, its ends, what it says of itself. Facts only, no arithmetic."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from planner.facts.attention import Attention, CacheKind, CompressedCache, LatentAttention, cache_kind, has_sinks, window
from planner.facts.modules import Linear, Module, Role, Tensor
from planner.facts.record import dataclass
from planner.facts.storage import Encoding


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
    remote_code: bool = False  # the checkpoint brings its tokenizer or its configuration class as code
    example_template: str | None = None  # a chat template of vLLM's examples folder, which its wheel does not hold


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model as far as memory is concerned. It has no slots, so that what follows of its layers is worked out once."""

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
    first: tuple[Module, ...]  # embedding: first pipeline stage
    layers: tuple[LayerGroup, ...]
    last: tuple[Module, ...]  # final norm and head: last pipeline stage
    tower: tuple[Module, ...] = ()  # of images or sound, with its projector: first pipeline stage
    tower_shared_out: LayerGroup | None = None  # those layers of it that pipeline stages share out as the text model's: the first keeps its own, no other any
    tower_on_every_stage: bool = False
    every: tuple[Module, ...] = ()  # what some classes build on every stage, used or not
    tied_copy: tuple[Module, ...] = ()  # the embedding again on the last of several stages, where it is the head too
    buffers: tuple[Tensor, ...] = ()
    experts_per_token: int = 0
    expert_intermediate: int = 0
    dtype: str = "bfloat16"
    kv_cache_dtype: str = "auto"  # what the checkpoint asks for when the user says auto
    scales_by_head: bool = False  # each key-value head of its cache has a scale
    vision: VisionSpec | None = None
    bidirectional_images: bool = False  # image tokens attend in both directions (vLLM's is_mm_prefix_lm)
    residual_streams: int = 1  # hidden states carried side by side (hyper-connections)
    bytes_per_batched_token: int = 0  # what the model sets aside at load for each token of a batch
    checkpoint: CheckpointDifference | None = None  # where the checkpoint's own tensors disagree with its config
    endless: bool = False  # its config names no longest context: max_position_embeddings is what vLLM takes where it is told none
    pooling: bool = False
    chat: ChatFormat | None = None  # None where nobody looked it up
    pipeline: bool = True  # whether vLLM can split its layers over pipeline stages
    family: str = ""
    not_known: str = ""  # what of it is not known, where no class of its architecture is: weights are the checkpoint's, the cache its config's
    drafter: Drafter | None = None  # what drafts tokens for it, in its server
    judged: bool = True  # whether its architecture's weights were compared with those of the class vLLM builds
    typed: bool = False  # its config was typed from public facts, which no published total confirms

    @cached_property
    def layer_count(self) -> int:
        """Number of decoder layers."""
        return sum(len(group.indices) for group in self.layers)

    @cached_property
    def cached_layers(self) -> tuple[LayerGroup, ...]:
        """The layers whose caches lie together: its own, and behind them those of its drafter."""
        if self.drafter is None or self.drafter.model is None:
            return self.layers
        behind = self.layer_count
        drafting = (replace(group, indices=tuple(behind + index for index in group.indices)) for group in self.drafter.model.layers)
        return (*self.layers, *drafting)

    @property
    def heads_shared(self) -> bool:
        """Whether several query heads share a key-value head."""
        return self.kv_heads < self.attention_heads

    @cached_property
    def caches(self) -> tuple[Attention, ...]:
        """The distinct kinds of cache."""
        return tuple(dict.fromkeys(cache for group in self.layers for cache in group.caches))

    @property
    def is_encoder(self) -> bool:
        """Whether no layer keeps a cache."""
        return not self.caches

    @cached_property
    def has_state(self) -> bool:
        """Whether any layer keeps a recurrent state."""
        return any(cache_kind(cache) is CacheKind.STATE for cache in self.caches)

    @cached_property
    def delta_columns(self) -> tuple[int, int]:
        """Columns that a layer of the gated delta rule projects its input to (q, k, v and z), and those of its values; none where it has no such layer."""
        for group in self.layers:
            linears = [module for module in group.modules if isinstance(module, Linear)]
            if projection := next((linear for linear in linears if linear.role is Role.DELTA), None):
                values = next(linear.inputs.size for linear in linears if linear.name.endswith(("linear_attn.out_proj", "linear_attn.o_proj")))
                return sum(axis.size for axis in projection.outputs), values
        return 0, 0

    @cached_property
    def narrows_products(self) -> bool:
        """Whether every dense MLP takes the product of its gate and up in FP8, with a scale of each token or of all: not of blocks."""
        held = [module.storage for group in self.layers for module in group.modules if isinstance(module, Linear) and module.role is Role.DOWN]
        return bool(held) and all(storage.encoding is Encoding.FP8 and storage.block is None for storage in held)

    @cached_property
    def has_window(self) -> bool:
        """Whether any layer forgets tokens (sliding window or chunk)."""
        return any(window(cache) is not None for cache in self.caches)

    @cached_property
    def has_sinks(self) -> bool:
        """Whether any layer uses attention sinks."""
        return any(map(has_sinks, self.caches))

    @cached_property
    def is_latent(self) -> bool:
        """Whether attention is MLA."""
        return any(cache_kind(cache) is CacheKind.LATENT for cache in self.caches)

    @cached_property
    def is_compressed(self) -> bool:
        """Whether every cache is compressed (DeepSeek V4)."""
        return bool(self.caches) and all(cache_kind(cache) is CacheKind.COMPRESSED for cache in self.caches)

    @cached_property
    def is_sparse(self) -> bool:
        """Whether attention is MLA with a sparse indexer."""
        return any(isinstance(cache, LatentAttention) and cache.sparse for cache in self.caches)

    @cached_property
    def indexed(self) -> tuple[int, int] | None:
        """Bytes of a key of the sparse indexer and the tokens it stands for; None where latents are attended to whole."""
        latent = (cache.index_dim for cache in self.caches if isinstance(cache, LatentAttention) and cache.index_dim)
        if key := next(latent, 0):
            return key, 1
        if not self.is_compressed:
            return None
        entries = [(cache.entry_bytes, cache.tokens_per_entry) for cache in self.caches if isinstance(cache, CompressedCache) and not cache.window]
        return min(entries, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafter:
    """What drafts tokens that the model then verifies together; `model` is what is loaded for it, without what it shares, None for one that looks them up."""

    method: str
    num_speculative_tokens: int
    model: ModelSpec | None = None
    words: tuple[Module, ...] = ()
    """Its own words, which it shares with its target where both lie on one stage."""
    own_words: bool = False
    """Whether no stage's words are shared in a pipeline, not even those that the target's last one has as its head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionSpec:
    """The vision tower as far as its profiling batch is concerned."""

    hidden_size: int
    intermediate_size: int
    heads: int
    max_patches: int  # of one image at the largest resolution
    tokens_per_item: int  # embeddings handed to the language model for that image
    extra_outputs: int = 0  # deepstack levels
    token_side: int = 0
    """Pixels of the side of what becomes one token, where a processor takes pictures of any size; 0 elsewhere."""
    film_slices: int = 0
    """By how much a film is larger than a picture, at most; 0 where films are never the largest."""
    counted_tokens: int = 0
    """What a release counts the largest item as, where that is more than it is; 0 elsewhere."""
    items_in_a_prompt: int = 0
    """How many of the largest item a prompt may bring, where a server is told; 0 elsewhere."""
    peaks: tuple[tuple[int, int], ...] = ()
    """Columns of 16 bits of a patch that a layer holds at its peaks, of every rank and divided over them; empty where nobody counted them."""
