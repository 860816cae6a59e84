"""What a ledger says: what it holds, what fits, and by how much something is short. Whatever asks whether a request or a start fits asks here."""

from __future__ import annotations

from dataclasses import field
from typing import Generic

from planner.arrays import Whole, maximum, where, whole
from planner.engines.vllm.kvcache import CachePlan, longest_model_len
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True)
class Length:
    """What decides the longest context: the cache's layout, the model's limit, tokens in flight."""

    cache: CachePlan
    limit: int
    in_flight_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBreakdown(Generic[Whole]):
    """The ledger of the fullest GPU, in bytes; deficits stay negative."""

    total_bytes: Whole
    free_at_start_bytes: Whole
    requested_bytes: Whole
    weights_bytes: Whole
    buffers_bytes: Whole
    activation_bytes: Whole
    non_torch_bytes: Whole
    cuda_graph_bytes: Whole
    kv_cache_bytes: Whole
    kv_block_bytes: Whole
    kv_cache_blocks: Whole
    kv_cache_tokens: Whole
    max_concurrency: Whole | float
    kv_cache_needed_bytes: Whole
    state_blocks_needed: int  # a hybrid's start wants so many blocks: one a sequence where decoding is captured whole
    reserved_blocks: int = 1
    drafter_bytes: Whole | int = 0  # what is loaded to draft tokens
    lora_bytes: Whole | int = 0  # stacked matrices of LoRA adapters, one slot each
    late_bytes: Whole | int = 0  # taken once the KV cache is sized, outside the budget and beyond what the activations leave behind
    offloaded_bytes: Whole | int = 0  # weights that lie in main memory
    checked_bytes: Whole | int | None = None  # what the release asks of the cache for one request, where that is not what the request needs
    checked_cache_bytes: Whole | int | None = None  # and of which cache, where that is not this stage's
    length: Length | None = field(default=None, compare=False, repr=False)  # not asked in a grid

    @property
    def longest_max_model_len(self: MemoryBreakdown) -> int:
        """The longest context of which one request would be admitted."""
        return self.longest_for(1)

    def longest_for(self: MemoryBreakdown, requests: int) -> int:
        """The longest context of which so many requests fit at once; 0 where none does."""
        length, blocks = self.known_length, self.admitted_blocks // requests
        if self.checked_cache_bytes is not None:
            blocks = min(blocks, max(0, self.checked_cache_bytes) // max(1, length.cache.whole_block_bytes))
        return longest_model_len(length.cache, blocks, length.limit, length.in_flight_tokens)

    def concurrency_at(self: MemoryBreakdown, tokens: int) -> float:
        """Requests of so many tokens that the cache holds at once, as vLLM counts and logs them: with the block that is never handed out."""
        return capacity(self.known_length.cache, self.kv_cache_blocks, tokens, self.known_length.in_flight_tokens)

    def admitted_at(self: MemoryBreakdown, tokens: int) -> float:
        """Requests of so many tokens that run at once."""
        return capacity(self.known_length.cache, self.admitted_blocks, tokens, self.known_length.in_flight_tokens)

    @property
    def known_length(self) -> Length:
        """What decides the longest context. Raises ValueError in a grid."""
        if self.length is None:
            raise ValueError("a grid does not know the layout of the cache")
        return self.length

    @property
    def admitted_blocks(self) -> Whole:
        """Blocks that requests are admitted to: since vLLM 0.29 one is never handed out."""
        admitted: Whole = self.kv_cache_blocks - self.reserved_blocks
        return admitted

    @property
    def admitted_requests(self) -> Whole:
        """Whole requests of max_model_len that run at once; an encoder's are its sequences."""
        needed = self.kv_cache_needed_bytes // maximum(1, self.kv_block_bytes)
        return where(self.kv_block_bytes == 0, whole(self.max_concurrency), maximum(0, self.admitted_blocks) // maximum(1, needed))

    def cache_bytes_for(self, requests: int) -> Whole:
        """The KV cache that so many requests of max_model_len need, with the block that none is admitted to."""
        needed: Whole = requests * self.kv_cache_needed_bytes + self.reserved_blocks * self.kv_block_bytes
        return needed

    def budget_for(self, requests: int) -> Whole:
        """What must be requested for everything beside the cache, so many requests of max_model_len and the blocks that a hybrid's start wants."""
        beside = self.requested_bytes - self.kv_cache_bytes
        states = (self.state_blocks_needed + self.reserved_blocks) * self.kv_block_bytes
        budget: Whole = beside + maximum(maximum(states, self.cache_bytes_for(requests)), self.checked_bytes or 0)
        return budget

    @property
    def checked_need_bytes(self) -> Whole:
        """What is asked of the cache for one request of max_model_len."""
        return self.kv_cache_needed_bytes if self.checked_bytes is None else self.checked_bytes + 0 * self.kv_cache_needed_bytes

    @property
    def checked_held_bytes(self) -> Whole:
        """What that is held against."""
        return self.kv_cache_bytes if self.checked_cache_bytes is None else self.checked_cache_bytes + 0 * self.kv_cache_bytes

    @property
    def short_of_request_bytes(self) -> Whole:
        """What the KV cache lacks for one request of max_model_len; negative where it is spare."""
        short: Whole = self.checked_need_bytes + self.reserved_blocks * self.kv_block_bytes - self.checked_held_bytes
        return short

    @property
    def short_of_states_bytes(self) -> Whole:
        """What the KV cache lacks of the blocks that a hybrid's start wants; negative where it is spare."""
        short: Whole = (self.state_blocks_needed - self.kv_cache_blocks) * self.kv_block_bytes
        return short

    @property
    def short_of_free_bytes(self) -> Whole:
        """What the GPU lacks, once everything lies there, of what is free at start; negative where it is spare."""
        return self.taken_bytes - self.free_at_start_bytes

    @property
    def loaded_bytes(self) -> Whole:
        """What lies on the GPU once the weights are loaded."""
        return self.weights_bytes + self.lora_bytes + self.drafter_bytes + self.buffers_bytes

    @property
    def used_bytes(self) -> Whole:
        """Everything on this GPU: what is requested, or more where a pinned KV cache exceeds it."""
        beside = self.loaded_bytes + self.activation_bytes + self.non_torch_bytes + self.cuda_graph_bytes
        return beside + maximum(0, self.kv_cache_bytes)

    @property
    def taken_bytes(self) -> Whole:
        """The most that the server takes of the GPU, beside its context and NCCL: what it requests or uses, and what is taken outside of that once the cache is sized."""
        return maximum(self.requested_bytes, self.used_bytes) + self.late_bytes

    @property
    def could_load(self) -> Whole | bool:
        """Whether what is requested has room for anything beside the weights."""
        return self.loaded_bytes + self.non_torch_bytes < self.requested_bytes

    @property
    def fits_request(self) -> Whole | bool:
        """Whether vLLM admits one request of max_model_len; an encoder, which keeps no cache, has nothing to admit."""
        fits: Whole | bool = (self.kv_block_bytes == 0) | (self.short_of_request_bytes <= 0)
        return fits

    @property
    def fits_states(self) -> Whole | bool:
        """Whether a hybrid has the blocks that its start wants."""
        return self.kv_cache_blocks >= self.state_blocks_needed

    @property
    def fits_start(self) -> Whole | bool:
        """Whether the utilization passes the check against free memory, and a pinned KV cache and what comes after it lie in it too."""
        return self.short_of_free_bytes <= 0

    @property
    def starts(self) -> Whole | bool:
        """Whether vLLM starts so."""
        return self.fits_start & self.fits_request & self.fits_states


def capacity(cache: CachePlan, blocks: int, max_model_len: int, max_in_flight_tokens: int) -> float:
    """Requests of max_model_len that fit at once: blocks / blocks of one request. An encoder holds any number."""
    if not cache.groups:
        return float("inf")
    return blocks / cache.blocks_per_request(max_model_len, max_in_flight_tokens)
