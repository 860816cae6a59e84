"""How many people and requests a server holds within limits on its answers, what binds, and how many servers a load needs.

`at once`: users who each send the next request when the answer is there, by the roofline that was fitted to such measurements
(planner/speed/roofline.py). `arriving`: requests that come at random, by simulation (planner/speed/queueing.py). Each at three outlooks: all seconds
longer and the cache smaller, as expected, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import ceil

from planner.facts.hardware import GpuGroup
from planner.facts.record import dataclass
from planner.facts.verdict import BoundBy, Grade
from planner.speed.constants import rates
from planner.speed.estimate import Pace
from planner.speed.queueing import ROUGH_REQUESTS, Server, highest_rate, simulate
from planner.speed.roofline import prompt_s, step
from planner.units import ceil_div, largest

REQUESTS, END_REQUESTS = 12_000, 4000  # simulated for the expected outlook, and for the ends of the interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What every answer must keep: this share of first tokens within so many seconds, the mean further token within so many."""

    first_token_s: float
    per_token_s: float
    share: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Tokens of a request."""

    prompt: int
    answer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The load that was asked for: users at once, requests a second, or nothing."""

    users: int | None = None
    requests_per_s: float | None = None

    @property
    def nothing(self) -> bool:
        """Whether only the capacity is asked."""
        return self.users is None and self.requests_per_s is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one server holds within the limits at one outlook."""

    users: int  # at once, each waiting for the answer
    requests_per_s: float
    in_flight: float  # requests in the server at that rate
    slots: int  # sequences that fit at full length
    bound_by: str  # what stops one user more
    alone_first_token_s: float
    alone_per_token_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What so many users of all replicas see at one outlook; `waiting` of them at a time wait for a slot."""

    users: int
    waiting: int
    first_token_s: float
    per_token_s: float
    tokens_per_s: float
    """Of all replicas together."""
    bound_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OneServer:
    """The server of which there are replicas, as a report names it."""

    engine: str
    version: str
    model: str
    group: GpuGroup
    tensor_parallel_size: int
    pipeline_parallel_size: int
    max_model_len: int
    max_num_seqs: int
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What `replicas` of one server hold together, at three outlooks; `paces` is how it works at each."""

    server: OneServer
    replicas: int
    grade: Grade
    because: str
    conservative: Held
    expected: Held
    optimistic: Held
    paces: tuple[Pace, Pace, Pace]
    seen: tuple[Seen, Seen, Seen] | None = None
    """What the users that were asked for see, where some were."""

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.replicas * self.server.group.count

    def users(self, held: Held) -> int:
        """Users of all replicas."""
        return self.replicas * held.users

    def requests_per_s(self, held: Held) -> float:
        """Requests a second of all replicas: a Poisson process that is divided at random is one again."""
        return self.replicas * held.requests_per_s


def server_of(pace: Pace, lengths: Lengths, places: int, batch: int) -> Server:
    """A server as its queue sees it: so many places, so many tokens of a step."""
    rate = rates(pace.work)
    prompt, answer = float(lengths.prompt), lengths.answer
    cache_bytes = pace.work.cache_bytes(prompt + answer / 2)
    decoding = [pace.step_of(count) * step(pace.work, rate, float(count), cache_bytes).total_s for count in range(1, places + 1)]
    return Server(
        steps_s=[0.0, *decoding],
        prompt_s=pace.prompt_factor * prompt_s(pace.work, rate, prompt, pace.work.attention_flops(prompt)),
        prompt=lengths.prompt,
        answer=answer,
        slots=places,
        batch=batch,
    )


def _closed(pace: Pace, lengths: Lengths, users: int) -> tuple[float, float]:
    """Seconds to the first token and per further one where so many users ask again as soon as they are answered."""
    seen = pace.seen(users, lengths.prompt, lengths.answer)
    return seen.first_token_s, seen.per_token_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Requests that run at once, what bounds their number, and the most tokens of a step."""

    count: int
    bound_by: str
    batch: int


def held(pace: Pace, places: Places, lengths: Lengths, limits: Limits, requests: int = END_REQUESTS) -> Held:
    """What one server holds at one outlook; so many requests are simulated for the rate."""
    alone = _closed(pace, lengths, 1)

    def within(users: int) -> bool:
        first, per_token = _closed(pace, lengths, users)
        return first <= limits.first_token_s and per_token <= limits.per_token_s

    users = largest(places.count, within)
    server = server_of(pace, lengths, max(places.count, 1), places.batch)
    client_s = rates(pace.work).first_token_s
    rate = highest_rate(server, limits.first_token_s - client_s, limits.per_token_s, share=limits.share, requests=requests) if users else 0.0
    return Held(
        users=users,
        requests_per_s=rate,
        in_flight=simulate(server, rate, ROUGH_REQUESTS).in_flight if rate else 0.0,
        slots=places.count,
        bound_by=places.bound_by if users >= places.count else _time_limit(pace, lengths, limits, users + 1),
        alone_first_token_s=alone[0],
        alone_per_token_s=alone[1],
    )


def _time_limit(pace: Pace, lengths: Lengths, limits: Limits, users: int) -> str:
    """Which limit so many users break by more, and what takes the time."""
    first, per_token = _closed(pace, lengths, users)
    if per_token / limits.per_token_s < first / limits.first_token_s:
        return "time to first token: prompts" if users > 1 else "time to first token: its prompt"
    return f"time per token: {_longest(pace, lengths, users)}"


def _longest(pace: Pace, lengths: Lengths, users: int) -> BoundBy:
    """What takes most of a step of so many."""
    return step(pace.work, rates(pace.work), float(users), pace.work.cache_bytes(lengths.prompt + lengths.answer / 2)).longest


def seen_by(option: Capacity, users: int, lengths: Lengths) -> tuple[Seen, Seen, Seen]:
    """What so many users of all replicas see, whatever the limits, each of whom asks again when the answer is there.

    Those without a slot wait until one is free. By Little's law `users / slots` is how often a request's time in its slot passes between two of its
    questions, of which it waits all but one.
    """
    conservative, expected, optimistic = (
        _seen_by(pace, held, option, users, lengths) for pace, held in zip(option.paces, (option.conservative, option.expected, option.optimistic), strict=True)
    )
    return conservative, expected, optimistic


def _seen_by(pace: Pace, held: Held, option: Capacity, users: int, lengths: Lengths) -> Seen:
    here = ceil_div(users, option.replicas)
    running = max(1, min(here, held.slots))
    seen = pace.seen(running, lengths.prompt, lengths.answer)
    stay_s = seen.first_token_s + (lengths.answer - 1) * seen.per_token_s
    waits = here > running
    return Seen(
        users=users,
        waiting=option.replicas * (here - running),
        first_token_s=seen.first_token_s + (here / running - 1) * stay_s,
        per_token_s=seen.per_token_s,
        tokens_per_s=option.replicas * seen.total_tokens_per_s,
        bound_by=held.bound_by if waits and held.users >= held.slots else "slots" if waits else str(_longest(pace, lengths, running)),
    )


def replicas_for(option: Capacity, asked: Asked) -> int | None:
    """Replicas that hold a load with conservative figures; None where no number would do."""
    held = option.conservative
    if (asked.users and not held.users) or (asked.requests_per_s and not held.requests_per_s):
        return None
    return max(1, ceil_div(asked.users or 0, max(1, held.users)), ceil((asked.requests_per_s or 0.0) / max(held.requests_per_s, 1e-9)))


def holds(option: Capacity, asked: Asked) -> bool:
    """Whether these replicas hold a load with conservative figures."""
    wanted = replicas_for(option, asked)
    return wanted is not None and wanted <= option.replicas


def most_first(options: Iterable[Capacity], asked: Asked) -> list[Capacity]:
    """Most users first, or most requests where a rate is asked; of equals the quicker one for a lone user."""

    def held_by(option: Capacity) -> tuple[float, float, float]:
        users, rate = float(option.users(option.expected)), option.requests_per_s(option.expected)
        return (rate, users, -option.expected.alone_per_token_s) if asked.requests_per_s else (users, rate, -option.expected.alone_per_token_s)

    return sorted(options, key=held_by, reverse=True)


def fewest_gpus(options: Iterable[Capacity], asked: Asked) -> list[Capacity]:
    """Each plan with the replicas that a load needs, fewest GPUs first, then fewest servers; plans that cannot hold it are left out."""
    enough = [replace(option, replicas=wanted) for option in options if (wanted := replicas_for(option, asked))]
    return sorted(enough, key=lambda option: (option.gpus, option.replicas))
