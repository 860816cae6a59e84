"""How layers whose cache pages differ in size share one block: vLLM's block-outermost layout, which DeepSeek V4 uses.

Source: vllm/v1/core/kv_cache_planning.py _get_packed_kv_cache_groups, 0.33.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from planner.engines.vllm.kvcache import CacheGroup
from planner.errors import PlannerError
from planner.facts.attention import CompressedCache
from planner.facts.record import dataclass, replace
from planner.units import ceil_div

Page = tuple[int, int]  # a layer, and the bytes of its page


@dataclass(frozen=True, slots=True)
class Bucket:
    """Pages of layers that can share a block table."""

    pages: tuple[Page, ...]

    @property
    def sizes(self) -> Counter[int]:
        """How many layers have a page of each size."""
        return Counter(size for _, size in self.pages)

    @property
    def even(self) -> bool:
        """Whether there are as many layers of each size: one of each makes a repeat."""
        return len(set(self.sizes.values())) == 1

    @property
    def repeats(self) -> int:
        """Layers of the most frequent size."""
        return max(self.sizes.values())


def pack(buckets: Sequence[Bucket]) -> list[list[list[Page]]]:
    """The groups of each bucket: an even one of several sizes stays whole and sets how many repeats a group of the others holds.

    Raises PlannerError where there is none: without an indexer, vLLM wants pages of one size.
    """
    mixed = [bucket.repeats for bucket in buckets if bucket.even and len(bucket.sizes) > 1]
    if not mixed:
        raise PlannerError("vLLM cannot unify the page sizes of this model's caches")
    per_group = _least_padding([bucket.repeats for bucket in buckets if bucket.even], max(mixed))
    return [_split(bucket, ceil_div(bucket.repeats, per_group) if bucket.even else 1) for bucket in buckets]


@dataclass(frozen=True, slots=True)
class Padded:
    """What a group counts for until 0.27, where pages are padded to the sizes of the whole group's and a block holds the most of each size.

    Source: kv_cache_utils.py of 0.24, get_max_concurrency_for_kv_cache_config, _max_memory_usage_bytes_from_groups and _bucket_layers_by_page_size.
    """

    share: int  # bytes of its pages
    whole: int  # and of the whole group's: the ratio is what one of its blocks counts for in a request
    checked: int  # bytes for which a block counts in the check of one request


def as_padded(groups: Sequence[CacheGroup]) -> tuple[CacheGroup, ...]:
    """Groups as such releases count them; the group that keeps every token has the pages that a block of the pool holds beyond its own."""
    whole = next((group for group in groups if isinstance(group.attention, CompressedCache) and not group.attention.window), None)
    if whole is None:
        return tuple(groups)
    sizes = sorted(set(whole.page_bytes))
    held = [Counter(min((size for size in sizes if size >= page), default=sizes[-1]) for page in group.page_bytes) for group in groups]
    most = {size: max(counts[size] for counts in held) for size in sizes}
    block, tuples = sum(size * count for size, count in most.items()), max(most.values())
    own = sum(whole.page_bytes)
    more = replace(whole, page_bytes=(*whole.page_bytes[:-1], whole.page_bytes[-1] + block - own))
    counted = [Padded(sum(size * count for size, count in counts.items()), own, tuples * sum(sizes)) for counts in held]
    return tuple(replace(more if group is whole else group, padded=padded) for group, padded in zip(groups, counted, strict=True))


def _split(bucket: Bucket, count: int) -> list[list[Page]]:
    if count == 1:
        return [list(bucket.pages)]
    rows = list(zip(*([page for page in bucket.pages if page[1] == size] for size in bucket.sizes), strict=True))
    return [[page for row in rows[start::count] for page in row] for start in range(count)]


def _least_padding(counts: Sequence[int], floor: int) -> int:
    """The group size, `floor` or more, that rounds the counts up by least; the larger of two equals (_approximate_gcd)."""
    return min(range(floor, max(counts) + 1), key=lambda size: (sum(-count % size for count in counts), -size))
