"""Another simulation of agents' sessions: every conversation, every turn, an LRU cache of histories. Plain; planner/questions/sessions.py is held to it."""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache


@dataclass
class Conversation:
    turn: int = 0
    left: float = 0.0  # of the turn that is answered, as a share
    found: bool = False


@dataclass
class Seen:
    """Means over the second half of the time."""

    active: float
    warm_share: float
    stay_s: float


def simulate(
    stay_s: Callable[[int, int, bool], float], sizes: list[int], conversations: int, room: float, slots: int, pause_s: float, seconds: float, seed: int = 1
) -> Seen:
    """`stay_s(active, turn, found)`: a turn's time where so many are at once; `sizes`: tokens of a history behind each turn; pauses are exponential."""
    drawn = random.Random(seed)
    cache: OrderedDict[int, int] = OrderedDict()
    resting = {number: drawn.expovariate(1 / pause_s) for number in range(conversations)}
    states = [Conversation(turn=drawn.randrange(len(sizes))) for _ in range(conversations)]
    working: set[int] = set()
    queue: deque[int] = deque()
    now, area, hits, asked, stays, ended = 0.0, 0.0, 0, 0, 0.0, 0
    begun = dict.fromkeys(range(conversations), 0.0)
    took = lru_cache(maxsize=None)(stay_s)
    while now < seconds:
        active = len(working)
        speeds = {number: 1 / took(active, states[number].turn, states[number].found) for number in working}
        ends = {number: now + states[number].left / speeds[number] for number in working}
        end, comes = min(ends, key=ends.get, default=None), min(resting, key=resting.get, default=None)
        when = min(ends[end] if end is not None else 1e99, resting[comes] if comes is not None else 1e99)
        for number in working:
            states[number].left -= (when - now) * speeds[number]
        if now > seconds / 2:
            area += (when - now) * active
        now = when
        if end is not None and ends[end] == when:
            state = states[end]
            working.remove(end)
            cache.pop(end, None)
            cache[end] = sizes[state.turn]
            if now > seconds / 2:
                stays, ended = stays + now - begun[end], ended + 1
            state.turn += 1
            if state.turn == len(sizes):
                state.turn = 0
                cache.pop(end, None)
            resting[end] = now + drawn.expovariate(1 / pause_s)
        else:
            del resting[comes]
            begun[comes] = now
            queue.append(comes)
        while queue and len(working) < slots:
            number = queue.popleft()
            state = states[number]
            state.left, state.found = 1.0, number in cache
            if state.turn and now > seconds / 2:
                hits, asked = hits + state.found, asked + 1
            cache.pop(number, None)
            cache[number] = sizes[state.turn]
            working.add(number)
            held = sum(cache.values())
            for other in [other for other in cache if other not in working]:
                if held <= room:
                    break
                held -= cache.pop(other)
    return Seen(active=area / (seconds / 2), warm_share=hits / max(1, asked), stay_s=stays / max(1, ended))
