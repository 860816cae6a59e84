"""Where answers are computed: what takes milliseconds at once, what takes longer beside it, one after the other, so that who types is answered meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from planner.errors import PlannerError, WorldError, our_fault

T = TypeVar("T")
MOST_WAITING = 32


class Turn:
    """The one seam between a request and what it computes; `alone` there is no thread to compute beside (a browser that runs Python itself)."""

    def __init__(self, *, alone: bool) -> None:
        self.alone, self._limiter, self._here = alone, anyio.CapacityLimiter(1), 0

    async def take(self, answer: Callable[[], T], *, is_slow: bool) -> T:
        """What it answers. Raises WorldError where too many wait already, and in place of what nobody expected."""
        try:
            return answer() if self.alone or not is_slow else await self._beside(answer)
        except PlannerError:
            raise
        except Exception as error:
            raise our_fault(error) from error

    async def _beside(self, answer: Callable[[], T]) -> T:
        if self._here >= MOST_WAITING:
            raise WorldError(f"{MOST_WAITING} questions wait already", "ask again in a moment")
        self._here += 1
        try:
            return await anyio.to_thread.run_sync(answer, limiter=self._limiter)
        finally:
            self._here -= 1
