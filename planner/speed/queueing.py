"""Requests that arrive at one server: continuous batching step by step, as vLLM's scheduler works.

A step decodes one token of every running sequence and computes prompts in the order of their arrival with the tokens left of a batch; a request is
admitted when a slot is free and the KV cache has room for all its tokens, and keeps both to its end, so that nothing is preempted. Steps between two
events are alike and are taken at once. Arrivals are a Poisson process with lengths as asked, or those of a recorded trace (planner/questions/trace.py).
tests/questions/test_capacity.py holds it to queueing theory and to another simulation, token by token.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from heapq import heappop, heappush
from itertools import accumulate
from math import log

from planner.facts.record import dataclass

WARM_UP = 0.1  # the first tenth of the requests meets an empty server
ROUGH, ROUGH_REQUESTS = 0.04, 1000  # enough to find the neighbourhood
CLOSE, MOST_TRIES = 0.005, 8
SEED = 20_241  # the same arrivals for every rate, only denser


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What is asked of a server, in the order of arrival: seconds since the start; tokens of the prompt, seconds to compute it, tokens of the output."""

    arrivals_s: Sequence[float]
    prompts: Sequence[int]
    prompts_s: Sequence[float]
    outputs: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a queue needs to know: seconds of a step by how many sequences it decodes (from 0), of one prompt; tokens; places."""

    steps_s: Sequence[float]
    prompt_s: float
    prompt: int
    answer: int
    slots: int
    batch: int
    cache_tokens: int | None = None
    """Tokens that the KV cache holds; None where its slots say it."""

    @property
    def most_per_s(self) -> float:
        """Requests a second that no queue of this server survives: prompts and full batches take all its time."""
        return self.slots / (self.slots * self.prompt_s + (self.answer - 1) * self.steps_s[self.slots])

    def at_random(self, rate_per_s: float, requests: int, seed: int) -> Requests:
        """Requests of this server's lengths that arrive at this rate."""
        return Requests(
            arrivals_s=[arrival / rate_per_s for arrival in _unit_arrivals(requests, seed)],
            prompts=[self.prompt] * requests,
            prompts_s=[self.prompt_s] * requests,
            outputs=[self.answer] * requests,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """What requests saw: seconds to the first token (sorted), mean seconds a further token, mean number of requests in the server."""

    first_token_s: Sequence[float]
    per_token_s: float
    in_flight: float

    def percentile_s(self, share: float) -> float:
        """The time to first token that this share of the requests does not exceed."""
        return percentile(self.first_token_s, share)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of sorted ones does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@lru_cache(maxsize=8)
def _unit_arrivals(requests: int, seed: int) -> list[float]:
    """Arrivals of one a second; other rates are these, denser or rarer."""
    drawn = random.Random(seed)  # noqa: S311 - arrivals, not secrets
    return list(accumulate(drawn.expovariate(1.0) for _ in range(requests)))


def _line(outputs: Sequence[int]) -> tuple[Sequence[tuple[int, int]], Callable[[tuple[int, int]], None], Callable[[], tuple[int, int]]]:
    """Who decodes, by the step of the last token, and how one enters and the first leaves: in the order of coming where all outputs are equally long, else a heap."""
    if len(set(outputs)) == 1:
        equal: deque[tuple[int, int]] = deque()
        return equal, equal.append, equal.popleft
    heap: list[tuple[int, int]] = []
    return heap, partial(heappush, heap), partial(heappop, heap)


def serve(server: Server, asked: Requests) -> tuple[list[float], list[float]]:  # noqa: PLR0912 - a call for each event would cost as much as the event
    """When each request has its first and its last token, in seconds since the start.

    Requests are admitted, and their prompts computed, in the order of arrival: three places in that order say who has come, who has a slot and whose
    prompt is computed. Who decodes stands in line by the step of the last token.
    """
    steps_s, slots, batch = server.steps_s, server.slots, server.batch
    arrivals, prompts, prompts_s, outputs = asked.arrivals_s, asked.prompts, asked.prompts_s, asked.outputs
    count, room = len(arrivals), server.cache_tokens
    first, last = [0.0] * count, [0.0] * count
    decoding, enter, leave = _line(outputs)
    now, step, came, admitted, computed, running, many = 0.0, 0, 0, 0, 0, 0, 0
    left, held, finished = prompts[0] if count else 0, 0, 0
    while finished < count:
        while came < count and arrivals[came] <= now:
            came += 1
        while admitted < came and running < slots:
            if room is not None:
                if running and held + prompts[admitted] + outputs[admitted] > room:
                    break
                held += prompts[admitted] + outputs[admitted]
            admitted += 1
            running += 1
        if computed < admitted:
            budget, start = batch - many if batch > many else 1, computed
            now += steps_s[many]
            step += 1
            while computed < admitted and budget > 0:
                chunk = left if left < budget else budget
                now += prompts_s[computed] * chunk / prompts[computed]
                budget -= chunk
                left -= chunk
                if left:
                    break
                computed += 1
                left = prompts[computed] if computed < count else 0
            for done in range(start, computed):
                first[done] = now
                enter((step + outputs[done] - 1, done))
            many += computed - start
        elif many:
            steps = decoding[0][0] - step
            if running < slots and came < count:
                steps = min(steps, int((arrivals[came] - now) / steps_s[many]) + 1) if steps_s[many] else steps
            step += steps
            now += steps * steps_s[many]
        else:
            now = arrivals[came]
        while many and decoding[0][0] <= step:
            done = leave()[1]
            last[done] = now
            finished += 1
            running -= 1
            many -= 1
            if room is not None:
                held -= prompts[done] + outputs[done]
    return first, last


def simulate(server: Server, rate_per_s: float, requests: int, seed: int = SEED) -> Waits:
    """Serve so many requests that arrive at this rate."""
    asked = server.at_random(rate_per_s, requests, seed)
    first, last = serve(server, asked)
    skipped, further = int(WARM_UP * requests), max(1, server.answer - 1)
    waits = sorted(seen - arrival for seen, arrival in zip(first[skipped:], asked.arrivals_s[skipped:], strict=True))
    rest_s = sum(last[skipped:]) - sum(first[skipped:])
    stays_s = sum(last) - sum(asked.arrivals_s)
    return Waits(first_token_s=waits, per_token_s=rest_s / (requests - skipped) / further, in_flight=stays_s / max(last))


def highest_rate(server: Server, first_token_s: float, per_token_s: float, *, share: float, requests: int) -> float:
    """Requests a second at which this share of first tokens and the mean time per token keep their limits; 0 where a lone request does not.

    A few requests find the neighbourhood by halving; then `requests` of them, the same for every rate, find the rate by false position.
    """
    if server.prompt_s > first_token_s or server.steps_s[1] > per_token_s:
        return 0.0

    def excess(rate_per_s: float, count: int) -> float:
        """By how much the worse limit is broken, as a logarithm; negative where both are kept."""
        seen = simulate(server, rate_per_s, count)
        return log(max(seen.percentile_s(share) / first_token_s, seen.per_token_s / per_token_s, 1e-9))

    low, high = 0.0, server.most_per_s
    while high - low > ROUGH * high and high > 1e-6 * server.most_per_s:
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle, ROUGH_REQUESTS) <= 0 else (low, middle)
    return _false_position(lambda rate: excess(rate, requests), low or high / 2, high, server.most_per_s)


def _false_position(excess: Callable[[float], float], low: float, high: float, most: float) -> float:
    """The highest rate up to `most`, to half a percent, whose excess is not positive (the Illinois variant, which never stalls at one end)."""
    below, above = excess(low), excess(high)
    while above <= 0 and high < most:
        low, below, high = high, above, min(most, high * (1 + ROUGH))
        above = excess(high)
    while below > 0:
        high, above, low = low, below, low * (1 - ROUGH)
        below = excess(low)
    for _ in range(MOST_TRIES):
        if above <= 0 or -below < CLOSE or high - low < CLOSE * high:
            break
        middle = (low * above - high * below) / (above - below)
        value = excess(middle)
        if value <= 0:
            low, below, above = middle, value, above / 2
        else:
            high, above, below = middle, value, below / 2
    return high if above <= 0 else low
