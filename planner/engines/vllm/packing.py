"""How layers whose cache pages differ in size share one block: vLLM's block-outermost layout, which DeepSeek V4 uses.

Source: vllm/v1/core/kv_cache_planning.py _get_packed_kv_cache_groups, 0.33.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from planner.errors import PlannerError
from planner.facts.record import dataclass
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


def _split(bucket: Bucket, count: int) -> list[list[Page]]:
    if count == 1:
        return [list(bucket.pages)]
    rows = list(zip(*([page for page in bucket.pages if page[1] == size] for size in bucket.sizes), strict=True))
    return [[page for row in rows[start::count] for page in row] for start in range(count)]


def _least_padding(counts: Sequence[int], floor: int) -> int:
    """The group size, `floor` or more, that rounds the counts up by least; the larger of two equals (_approximate_gcd)."""
    return min(range(floor, max(counts) + 1), key=lambda size: (sum(-count % size for count in counts), -size))
