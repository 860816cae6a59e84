"""Requests that arrive at random at one server: continuous batching step by step, as vLLM's scheduler works.

Arrivals are a Poisson process, lengths are as asked. A step decodes one token of every running sequence and computes prompts in the
order of their arrival with the tokens left of a batch; a request is admitted when a slot is free, and keeps it to its end (a slot is
what `max_num_seqs` and the KV cache hold at full length, so that nothing is preempted). Steps between two events are alike and are
taken at once. tests/questions/test_capacity.py holds it to queueing theory and to another simulation, token by token.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from math import log

from planner.facts.record import dataclass

WARM_UP = 0.1  # the first tenth of the requests meets an empty server
ROUGH, ROUGH_REQUESTS = 0.04, 4000  # enough to find the neighbourhood
CLOSE, MOST_TRIES = 0.005, 8
SEED = 20_241  # the same arrivals for every rate, only denser


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a queue needs to know: seconds of a step by how many sequences it decodes (from 0), of one prompt; tokens; places."""

    steps_s: Sequence[float]
    prompt_s: float
    prompt: int
    answer: int
    slots: int
    batch: int

    @property
    def most_per_s(self) -> float:
        """Requests a second that no queue of this server survives: prompts and full batches take all its time."""
        return self.slots / (self.slots * self.prompt_s + (self.answer - 1) * self.steps_s[self.slots])


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """What requests saw: seconds to the first token (sorted), mean seconds a further token, mean number of requests in the server."""

    first_token_s: Sequence[float]
    per_token_s: float
    in_flight: float

    def percentile_s(self, share: float) -> float:
        """The time to first token that this share of the requests does not exceed."""
        return self.first_token_s[min(len(self.first_token_s) - 1, int(share * len(self.first_token_s)))]


class _Line:
    """The state of the server: who waits, whose prompt is computed, who decodes."""

    def __init__(self, server: Server, rate_per_s: float, seed: int) -> None:
        self.server, self.rate = server, rate_per_s
        self.random = random.Random(seed)  # noqa: S311 - arrivals, not secrets
        self.now_s, self.steps = 0.0, 0
        self.next_s = self.random.expovariate(rate_per_s)
        self.waiting: deque[float] = deque()
        self.prompts: deque[list[float]] = deque()  # arrival, tokens left
        self.decoding: list[tuple[int, float, float]] = []  # the step of the last token, arrival, time of the first token
        self.first: list[float] = []
        self.rest: list[float] = []
        self.stays_s = 0.0

    def arrive(self) -> None:
        """Let in who came while the last step ran, and admit what has a slot."""
        while self.next_s <= self.now_s:
            self.waiting.append(self.next_s)
            self.next_s += self.random.expovariate(self.rate)
        while self.waiting and len(self.decoding) + len(self.prompts) < self.server.slots:
            self.prompts.append([self.waiting.popleft(), self.server.prompt])

    def step(self) -> None:
        """One step, or all equal ones up to the next event."""
        if self.prompts:
            self._mixed()
        elif self.decoding:
            duration = self.server.steps_s[len(self.decoding)]
            count = max(1, min(self.decoding[0][0] - self.steps, int((self.next_s - self.now_s) / duration) + 1))
            self.steps += count
            self.now_s += count * duration
        else:
            self.now_s = self.next_s
        while self.decoding and self.decoding[0][0] <= self.steps:
            _, arrival, first = heapq.heappop(self.decoding)
            self._leave(arrival, first)

    def _mixed(self) -> None:
        left, tokens, done = max(1, self.server.batch - len(self.decoding)), 0.0, []
        while self.prompts and left > 0:
            chunk = min(left, self.prompts[0][1])
            self.prompts[0][1] -= chunk
            left -= int(chunk)
            tokens += chunk
            if not self.prompts[0][1]:
                done.append(self.prompts.popleft()[0])
        self.now_s += self.server.steps_s[len(self.decoding)] + self.server.prompt_s * tokens / self.server.prompt
        self.steps += 1
        for arrival in done:
            self.first.append(self.now_s - arrival)
            if self.server.answer > 1:
                heapq.heappush(self.decoding, (self.steps + self.server.answer - 1, arrival, self.now_s))
            else:
                self._leave(arrival, self.now_s)

    def _leave(self, arrival: float, first: float) -> None:
        self.rest.append((self.now_s - first) / max(1, self.server.answer - 1))
        self.stays_s += self.now_s - arrival


def simulate(server: Server, rate_per_s: float, requests: int, seed: int = SEED) -> Waits:
    """Serve so many requests that arrive at this rate."""
    line = _Line(server, rate_per_s, seed)
    while len(line.rest) < requests:
        line.arrive()
        line.step()
    skipped = int(WARM_UP * requests)
    rest = line.rest[skipped:]
    return Waits(first_token_s=sorted(line.first[skipped:]), per_token_s=sum(rest) / len(rest), in_flight=line.stays_s / line.now_s)


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
