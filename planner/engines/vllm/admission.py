"""What a release makes of a counted ledger: how it checks that one request fits, and what it logs as the cache's size.

Source: v1/core/kv_cache_utils.py (kv_cache_planning.py in 0.33) get_kv_cache_configs, _max_memory_usage_bytes_from_groups, _report_kv_cache_config.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from planner.engines.vllm.choice import Choice
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.kvcache import CachePlan, group_blocks
from planner.engines.vllm.ledger import MemoryBreakdown
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.versions import TOKENS_BY_REQUESTS, VERSIONS
from planner.facts.record import replace


def as_released(ledger: MemoryBreakdown, config: ServeConfig, needed_blocks: int, caches: Callable[[], Sequence[int]]) -> MemoryBreakdown:
    """The ledger with the release's own count of tokens, and its check of one request of `needed_blocks`; `caches` are the stages' in bytes.

    Some hold what a request needs of all stages against the cache of one (vllm pull requests 29431 and 33698).
    """
    layout = ledger.known_length.cache
    if config.pipeline_parallel_size > 1 and VERSIONS[config.vllm_version].whole_need_checked:
        ledger = replace(ledger, checked_bytes=needed_blocks * layout.whole_block_bytes, checked_cache_bytes=min(caches()))
    if any(group.padded for group in layout.groups):
        ledger = replace(ledger, checked_bytes=_padded_need(layout, config, ledger.known_length.in_flight_tokens))
    tokens = logged_tokens(ledger, layout, config)
    return ledger if tokens == ledger.kv_cache_tokens else replace(ledger, kv_cache_tokens=tokens)


def _padded_need(layout: CachePlan, config: ServeConfig, in_flight: int) -> int:
    """What releases ask for one request where they pad the pages of packed groups: every block of every group as large as the largest may be."""
    counts = ((group_blocks(group, config.max_model_len, in_flight, layout.steps_in_flight), group.padded) for group in layout.groups)
    return sum(blocks * padded.checked for blocks, padded in counts if padded)


def as_checked(choice: Choice) -> Choice:
    """The choice as a release starts it that counts the first group of a hybrid's layers alone: it may start with less than one request needs.

    What is planned is not held to so little, for such a server never serves a request of its max_model_len; nor is that a sure start, which nobody logged.
    """
    config = choice.config
    if not VERSIONS[config.vllm_version].first_group_checked or len(choice.expected.known_length.cache.groups) < 2:
        return choice

    def at(outlook: Outlook) -> MemoryBreakdown:
        ledger = choice.at(outlook)
        return ledger if outlook is Outlook.CONSERVATIVE else _by_first_group(ledger, config.max_model_len)

    return replace(choice, at=cache(at))


def counted_by_requests(choice: Choice) -> Choice:
    """The choice as patch releases from 0.20.1 on log its tokens, where 0.20.0 counts them by groups."""
    tokens = choice.config.max_model_len

    def at(outlook: Outlook) -> MemoryBreakdown:
        ledger = choice.at(outlook)
        return replace(ledger, kv_cache_tokens=int(ledger.max_concurrency * tokens)) if len(ledger.known_length.cache.groups) > 1 else ledger

    return replace(choice, at=cache(at))


def _by_first_group(ledger: MemoryBreakdown, max_model_len: int) -> MemoryBreakdown:
    layout, in_flight = ledger.known_length.cache, ledger.known_length.in_flight_tokens
    block = ledger.kv_block_bytes if ledger.checked_bytes is None else layout.whole_block_bytes
    return replace(ledger, checked_bytes=group_blocks(layout.groups[0], max_model_len, in_flight, layout.steps_in_flight) * block)


def logged_tokens(ledger: MemoryBreakdown, layout: CachePlan, config: ServeConfig, patch: int = 0) -> int:
    """What the release logs as "GPU KV cache size": until 0.20.0 the blocks of one group, later what requests of max_model_len hold at once."""
    release = VERSIONS[config.vllm_version]
    if not layout.groups or not release.tokens_by_groups or (release.minor, patch) >= TOKENS_BY_REQUESTS:
        return ledger.kv_cache_tokens
    return ledger.kv_cache_blocks // len(layout.groups) * min(group.block_size for group in layout.groups) * layout.context_ranks
