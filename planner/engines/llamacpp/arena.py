"""How ggml's graph allocator lays tensors out: the smallest hole that holds one, else the end; what is freed joins its neighbours.

Source: llama.cpp ggml/src/ggml-alloc.c ggml_dyn_tallocr_alloc, ggml_dyn_tallocr_free_bytes (v0.5.0).
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable

_ALIGNED_TO = 128  # bytes, on CUDA (ggml-cuda.cu)

Block = tuple[int, int]
"""Where it begins, and how many bytes."""
NOTHING: Block = (0, 0)


class Arena:
    """A buffer in which some blocks lie; `peak` is the most of it that was used."""

    __slots__ = ("_end", "_holes", "peak")

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self._holes: list[Block] = []
        self._end = 0
        for start, size in sorted(block for block in blocks if block[1]):
            if start > self._end:
                self._holes.append((self._end, start - self._end))
            self._end = start + size
        self.peak = self._end

    def take(self, size: int) -> Block:
        """A block of so many bytes."""
        if not size:
            return NOTHING
        size = -(-size // _ALIGNED_TO) * _ALIGNED_TO
        holes, at, least = self._holes, -1, 0
        for index, (_, room) in enumerate(holes):
            if room >= size and (at < 0 or room <= least):  # of equals the last
                at, least = index, room
        if at < 0:
            start = self._end
            self._end += size
            self.peak = max(self.peak, self._end)
            return start, size
        start = holes[at][0]
        if least > size:
            holes[at] = start + size, least - size
        else:
            del holes[at]
        return start, size

    def give(self, *blocks: Block) -> None:
        """Blocks that nothing reads any more, in this order."""
        for block in blocks:
            if block[1]:
                self._give(*block)

    def _give(self, start: int, size: int) -> None:
        holes, end = self._holes, start + size
        at = bisect(holes, (start,))
        if at < len(holes) and holes[at][0] == end:
            end += holes.pop(at)[1]
        if at and sum(holes[at - 1]) == start:
            at -= 1
            start = holes.pop(at)[0]
        if end == self._end:
            self._end = start
        else:
            holes.insert(at, (start, end - start))
