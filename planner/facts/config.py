"""How a model lies on GPUs: divided over them, its KV cache in blocks."""

from __future__ import annotations

from planner.facts.record import dataclass
from planner.units import ceil_div, round_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """How a model is divided over GPUs, and what the GPU's kernels make of it.

    The multiples are what MoE kernels round an expert's dimensions up to; `wide_router`: some routers are kept in 32 bits.
    Where a shard cuts blocks that share a scale: `experts_refined` gives experts finer ones, `merged_cut` lets fused layers be.
    `redundant_experts`: copies of experts that are spread beside them; `balances_experts`: experts move between ranks. `whole_tower`: every rank holds all of a vision tower.
    `whole_shared_experts`: every rank holds all of the shared experts, whose tokens are divided instead; `whole_dense_mlps`: those of layers without experts too.
    """

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    prefill_context_parallel_size: int = 1
    decode_context_parallel_size: int = 1
    enable_expert_parallel: bool = False
    redundant_experts: int = 0
    balances_experts: bool = False
    whole_tower: bool = False
    whole_shared_experts: bool = False
    whole_dense_mlps: bool = False
    expert_width_multiple: int = 1
    expert_hidden_multiple: int = 1
    ungated_width_multiple: int = 1
    wide_router: bool = False
    experts_refined: bool = True
    merged_cut: bool = True
    layer_partition: tuple[int, ...] = ()
    """Layers of each pipeline stage where they are divided by hand; empty: evenly."""

    @property
    def world_size(self) -> int:
        """GPUs of one engine: of one data-parallel rank."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.prefill_context_parallel_size

    @property
    def world_size_across_dp(self) -> int:
        """GPUs of all engines."""
        return self.world_size * self.data_parallel_size

    @property
    def expert_ranks(self) -> int:
        """Ranks of a stage that share the routed experts, sliced or whole: those of all engines."""
        return self.tensor_parallel_size * self.prefill_context_parallel_size * self.data_parallel_size


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedSlot:
    """Codes of a key and a value of one head and token in one slot, with what lies beside them; the slot is rounded up to `multiple` bytes."""

    key_bits: int
    value_bits: int
    beside_bytes: int = 0
    scaled: int = 0
    """Values that share a scale of one byte; 0: none do."""
    multiple: int = 2

    def bytes_of(self, head_dim: int) -> int:
        """Bytes of a slot for a head of so many values; its key and its value are of one width."""
        codes = sum(ceil_div(head_dim * bits, 8) for bits in (self.key_bits, self.value_bits))
        return round_up(codes + self.beside_bytes + (2 * head_dim // self.scaled if self.scaled else 0), self.multiple)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLayout:
    """How the attention backend stores the KV cache: tokens of a block and bits of a value.

    `bytes_per_token_head` are scales beside each token's key and value; `latent_bytes` a packed MLA token (0: plain).
    `drafted_tokens`: a request holds a state behind each of them too. `state_checkpoints`: the delta-rule kernel exports prefill checkpoints, so requests hold one more block of state.
    """

    backend: str
    block_size: int = 16
    bits: int = 16
    dtype_bits: int = 16
    bytes_per_token_head: int = 0
    slot: PackedSlot | None = None
    """How keys and values by head are packed; `bits` are then those of the elements that the cache is an array of."""
    latent_bytes: int = 0
    state_checkpoints: bool = False
    prefix_caching: bool = True
    """Whether recurrent states are kept for prefixes: a request holds the last two of them, else one."""
    prefill_checkpoints: tuple[int, ...] = (1, 16, 64)
    """Alignments of the checkpoints that the release's kernels export of a prompt: a request then holds one too."""
    conv_bits: int = 0
    ssm_bits: int = 0
    """Bits of a recurrent state's two parts; 0: as the model has them."""
    skip_layers: tuple[str, ...] = ()
    """Layers that keep the model's dtype: their numbers, or `sliding_window`."""
    grows_skipped: bool = True
    """Whether blocks grow where some layers keep the model's dtype."""
    one_kind: bool = False
    """Windows and chunks are kept whole."""
    drafted_tokens: int = 0
    group_spread: float = 1.5
    """Groups of layers are as large as the largest kind's where that has less than so many times the layers of the smallest."""
    pads_packed: bool = False
    """Whether pages of packed groups are padded to the sizes of the whole group's."""
