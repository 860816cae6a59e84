"""How many people and requests a server holds within limits on its answers, what binds, and how many servers a load needs.

`at once`: users who each send the next request when the answer is there, by the roofline that was fitted to such measurements
(planner/speed/roofline.py). `arriving`: requests that come at random, by simulation (planner/speed/queueing.py). Each at three outlooks: all seconds
longer and the cache smaller, as expected, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import ceil

from planner.engines.vllm.ledger import MemoryBreakdown
from planner.engines.vllm.pace import basis_of, paces, slots
from planner.engines.vllm.plan import Plan
from planner.errors import PlannerError
from planner.facts.record import dataclass
from planner.facts.speed import NoSpeed
from planner.facts.verdict import Grade
from planner.speed.estimate import Pace
from planner.speed.queueing import ROUGH_REQUESTS, Server, highest_rate, simulate
from planner.speed.roofline import prompt_s, rates, step
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
class Capacity:
    """What `replicas` servers of one plan hold together, at three outlooks."""

    plan: Plan
    replicas: int
    grade: Grade
    because: str
    conservative: Held
    expected: Held
    optimistic: Held

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.replicas * self.plan.request.group.count

    def users(self, held: Held) -> int:
        """Users of all replicas."""
        return self.replicas * held.users

    def requests_per_s(self, held: Held) -> float:
        """Requests a second of all replicas: a Poisson process that is divided at random is one again."""
        return self.replicas * held.requests_per_s


def server_of(plan: Plan, pace: Pace, lengths: Lengths, places: int) -> Server:
    """The plan's server as its queue sees it."""
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
        batch=plan.config.max_num_batched_tokens,
    )


def _closed(pace: Pace, lengths: Lengths, users: int) -> tuple[float, float]:
    """Seconds to the first token and per further one where so many users ask again as soon as they are answered."""
    seen = pace.seen(users, lengths.prompt, lengths.answer)
    return seen.first_token_s, seen.per_token_s


def held(plan: Plan, pace: Pace, ledger: MemoryBreakdown, lengths: Lengths, limits: Limits) -> Held:
    """What one server holds at one outlook."""
    places = slots(plan, ledger, lengths.prompt + lengths.answer)
    alone = _closed(pace, lengths, 1)

    def within(users: int) -> bool:
        first, per_token = _closed(pace, lengths, users)
        return first <= limits.first_token_s and per_token <= limits.per_token_s

    users = largest(places, within)
    server = server_of(plan, pace, lengths, max(places, 1))
    client_s = rates(pace.work).first_token_s
    requests = REQUESTS if ledger is plan.choice.expected else END_REQUESTS
    rate = highest_rate(server, limits.first_token_s - client_s, limits.per_token_s, share=limits.share, requests=requests) if users else 0.0
    return Held(
        users=users,
        requests_per_s=rate,
        in_flight=simulate(server, rate, ROUGH_REQUESTS).in_flight if rate else 0.0,
        slots=places,
        bound_by=_place_limit(plan, places) if users >= places else _time_limit(pace, lengths, limits, users + 1),
        alone_first_token_s=alone[0],
        alone_per_token_s=alone[1],
    )


def _place_limit(plan: Plan, places: int) -> str:
    return "max-num-seqs" if places == plan.config.max_num_seqs else "KV cache"


def _time_limit(pace: Pace, lengths: Lengths, limits: Limits, users: int) -> str:
    """Which limit so many users break by more, and what takes the time."""
    first, per_token = _closed(pace, lengths, users)
    if per_token / limits.per_token_s < first / limits.first_token_s:
        return "time to first token: prompts" if users > 1 else "time to first token: its prompt"
    terms = step(pace.work, rates(pace.work), float(users), pace.work.cache_bytes(lengths.prompt + lengths.answer / 2))
    return f"time per token: {terms.longest}"


def known_paces(plan: Plan) -> tuple[Pace, Pace, Pace]:
    """The plan's conservative, expected and optimistic pace. Raises PlannerError with the reason where it is not known, or only that of decoding."""
    known = paces(plan)
    if isinstance(known, NoSpeed):
        about = f"nothing is known of the capacity of {plan.model.name} on {plan.request.group.label}"
        raise PlannerError(f"{about}: {known.reason}", "docs/speed.md says what was measured")
    return known


def measure(plan: Plan, replicas: int, lengths: Lengths, limits: Limits) -> Capacity:
    """What replicas of a plan hold. Raises PlannerError where its speed is not known."""
    known = known_paces(plan)
    near = basis_of(plan, known[1].work)
    conservative, expected, optimistic = (
        held(plan, pace, ledger, lengths, limits)
        for pace, ledger in zip(known, (plan.choice.conservative, plan.choice.expected, plan.choice.optimistic), strict=True)
    )
    return Capacity(plan=plan, replicas=replicas, grade=near.grade, because=near.because, conservative=conservative, expected=expected, optimistic=optimistic)


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
