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

from planner.facts.record import dataclass

WARM_UP = 0.1  # the first tenth of the requests meets an empty server
ROUGH, ROUGH_REQUESTS = 0.08, 1000  # enough to find the neighbourhood
CLOSE, MOST_TRIES = 0.01, 8
FLAT, STEEP = 0.05, 1.0  # how the excess grows with the rate: bounds of what a close rate may still lack
UNKNOWN_GROWTH = 2.0  # where nothing was tried on both sides: a step too short is made up for by the next
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
            steps, each_s = decoding[0][0] - step, steps_s[many]
            if running < slots and came < count and each_s and (until := int((arrivals[came] - now) / each_s) + 1) < steps:
                steps = until
            step += steps
            now += steps * each_s
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

    A few requests find the neighbourhood by halving; then `requests` of them, the same for every rate, find the rate from there.
    """
    if server.prompt_s > first_token_s or server.steps_s[1] > per_token_s:
        return 0.0

    def excess(rate_per_s: float, count: int) -> float:
        """Which part of the seconds that were seen breaks the worse limit; negative where both are kept. Waits grow as 1 / (1 - load): this is straight in the load."""
        seen = simulate(server, rate_per_s, count)
        worse = max(seen.percentile_s(share) / first_token_s, seen.per_token_s / per_token_s, 0.2)
        return 1 - 1 / worse

    kept, broken = (0.0, 0.0), (server.most_per_s, 0.0)
    while broken[0] - kept[0] > ROUGH * broken[0] and broken[0] > 1e-6 * server.most_per_s:
        middle = (kept[0] + broken[0]) / 2
        value = excess(middle, ROUGH_REQUESTS)
        kept, broken = ((middle, value), broken) if value <= 0 else (kept, (middle, value))
    return _highest_kept(lambda rate: excess(rate, requests), *_neighbourhood(kept, broken), server.most_per_s)


def _neighbourhood(kept: tuple[float, float], broken: tuple[float, float]) -> tuple[float, float]:
    """Of two rates and their excess, the rate between them that has none, and by how much the excess grows there as the rate doubles."""
    (low, below), (high, above) = kept, broken
    if not (low and above > 0):  # one end was never tried
        return low or high / 2, UNKNOWN_GROWTH
    rate = _crossing(low, below, high, above)
    return rate, rate * (above - below) / (high - low)


def _crossing(low: float, below: float, high: float, above: float) -> float:
    """Where a straight line through two points is zero."""
    return low + (high - low) * below / (below - above)


def _highest_kept(excess: Callable[[float], float], rate: float, growth: float, most: float) -> float:
    """The highest rate up to `most`, to about a percent, whose excess is not positive, from a guess and by how much the excess grows as the rate doubles.

    It is aimed at the middle of what is close enough, so that a rate that misses it by little still ends the search. Between a rate that keeps the limits
    and one that breaks them: false position (the Illinois variant, which never stalls at one end).
    """
    close = CLOSE * min(max(growth, FLAT), STEEP)
    kept: float | None = None
    broken: float | None = None
    below = above = 0.0
    tries, rate = 0, min(rate, most)
    while kept is None or tries < MOST_TRIES:
        value = excess(rate)
        tries += 1
        if value <= 0:
            if rate >= most or value >= -close:
                return rate
            above = above / 2 if kept is not None else above
            kept, below = rate, value + close / 2
        else:
            below = below / 2 if broken is not None else below
            broken, above = rate, value + close / 2
        if kept is None or broken is None:
            far = min(max(abs(value + close / 2) / growth, CLOSE * 2**tries), 4 * ROUGH)
            rate = min(most, rate * (1 + far if broken is None else 1 - far))
        elif broken - kept < CLOSE * broken:
            break
        else:
            rate = _crossing(kept, below, broken, above)
    return kept
