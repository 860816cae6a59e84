"""Another simulation of a server, token by token: every step, every sequence. Slow and plain; planner/speed/queueing.py is held to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass
class Sequence:
    arrival_s: float
    prompt_left: int
    answer_left: int
    first_s: float = 0.0


def serve(
    step_s: Callable[[int], float], prompt_s: float, prompt: int, answer: int, slots: int, batch: int, rate: float, requests: int, seed: int
) -> tuple[float, float]:
    """The 95th percentile of the time to first token and the mean time per token, in seconds, of requests after the first tenth."""
    arrivals = list(np.cumsum(np.random.default_rng(seed).exponential(1 / rate, 2 * requests)))
    queue: list[Sequence] = []
    active: list[Sequence] = []
    done: list[tuple[float, float]] = []
    now, next_arrival = 0.0, 0
    while len(done) < requests:
        while next_arrival < len(arrivals) and arrivals[next_arrival] <= now:
            queue.append(Sequence(arrivals[next_arrival], prompt, answer))
            next_arrival += 1
        while queue and len(active) < slots:
            active.append(queue.pop(0))
        if not active:
            now = arrivals[next_arrival]
            continue
        decoding = [one for one in active if one.prompt_left == 0]
        budget, computed, first = max(1, batch - len(decoding)), 0, []
        for one in active:
            if one.prompt_left and budget:
                chunk = min(budget, one.prompt_left)
                one.prompt_left -= chunk
                budget -= chunk
                computed += chunk
                if one.prompt_left == 0:
                    first.append(one)
        now += (step_s(len(decoding)) if decoding else 0.0) + prompt_s * computed / prompt
        for one in decoding:
            one.answer_left -= 1
        for one in first:
            one.answer_left -= 1
            one.first_s = now
        for one in [one for one in active if one.answer_left == 0]:
            active.remove(one)
            done.append((one.first_s - one.arrival_s, (now - one.first_s) / max(1, answer - 1)))
    firsts, rests = zip(*done[requests // 10 :], strict=True)
    return float(np.quantile(firsts, 0.95)), float(np.mean(rests))
