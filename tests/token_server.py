"""Another simulation of a server, token by token: every step, every sequence. Slow and plain; planner/speed/queueing.py is held to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass
class Sequence:
    arrival_s: float
    prompt: int
    prompt_s: float
    answer: int
    prompt_left: int = 0
    answer_left: int = 0
    first_s: float = 0.0
    last_s: float = 0.0


def run(step_s: Callable[[int], float], slots: int, batch: int, room: float, asked: list[Sequence], enough: int) -> list[Sequence]:
    """The requests in the order in which they end, until so many have."""
    coming = deque(asked)
    queue: deque[Sequence] = deque()
    active: list[Sequence] = []
    done: list[Sequence] = []
    now, held = 0.0, 0
    while len(done) < enough:
        while coming and coming[0].arrival_s <= now:
            queue.append(coming.popleft())
        while queue and len(active) < slots and (not active or held + queue[0].prompt + queue[0].answer <= room):
            one = queue.popleft()
            held += one.prompt + one.answer
            one.prompt_left, one.answer_left = one.prompt, one.answer
            active.append(one)
        if not active:
            now = coming[0].arrival_s
            continue
        decoding = [one for one in active if one.prompt_left == 0]
        budget, first = max(1, batch - len(decoding)), []
        now += step_s(len(decoding)) if decoding else 0.0
        for one in active:
            if one.prompt_left and budget:
                chunk = min(budget, one.prompt_left)
                one.prompt_left -= chunk
                budget -= chunk
                now += one.prompt_s * chunk / one.prompt
                if one.prompt_left == 0:
                    first.append(one)
        for one in decoding:
            one.answer_left -= 1
        for one in first:
            one.answer_left -= 1
            one.first_s = now
        for one in [one for one in active if one.prompt_left == 0 and one.answer_left == 0]:
            active.remove(one)
            held -= one.prompt + one.answer
            one.last_s = now
            done.append(one)
    return done


def serve(
    step_s: Callable[[int], float], prompt_s: float, prompt: int, answer: int, slots: int, batch: int, rate: float, requests: int, seed: int
) -> tuple[float, float]:
    """The 95th percentile of the time to first token and the mean time per token, in seconds, of requests after the first tenth."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, 2 * requests))
    done = run(step_s, slots, batch, float("inf"), [Sequence(float(arrival), prompt, prompt_s, answer) for arrival in arrivals], requests)[requests // 10 :]
    return float(np.quantile([one.first_s - one.arrival_s for one in done], 0.95)), float(
        np.mean([(one.last_s - one.first_s) / max(1, answer - 1) for one in done])
    )
