"""What tokens cost on a machine: its price an hour over what it serves in that hour. Pure arithmetic, in US dollars (docs/cost.md derives it).

A machine costs money by the hour and serves prompts and outputs in the same hours. Each kind of token bears the cost of the time that it takes: the
part that prompts take of a loaded server's time (`SpeedEstimate.prompt_share`) is theirs, the steps that decode are the outputs'. So the two prices of
a request add up to what the machine costs while it is served.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf
from typing import Literal

from planner.facts.record import dataclass
from planner.facts.speed import Range, SpeedEstimate

HOURS_A_MONTH = 730
HOURS_A_YEAR = 12 * HOURS_A_MONTH
MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What a machine draws while it serves and while it idles, in watts, and what a kilowatt hour costs."""

    watts: float
    how: Literal["stated", "given"]
    """stated: what its maker allows the GPUs at most, without the host; given: what the asker measured or says."""
    usd_per_kwh: float
    idle_watts: float = 0.0

    def usd_per_serving_hour(self, utilization: float) -> float:
        """Of an hour that serves, and of the idle time that belongs to it."""
        idle_hours = (1 - utilization) / utilization
        return (self.watts + self.idle_watts * idle_hours) / 1000 * self.usd_per_kwh


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to have a machine: rented by the hour, or bought for years. `utilization` is the part of the paid hours in which it serves."""

    kind: Literal["rent", "buy"]
    usd: float
    """An hour of the machine, or the machine."""
    utilization: float = 1.0
    years: float = 1.0
    power: Power | None = None
    """None where the rent holds it, or where a kilowatt hour has no price."""

    @property
    def power_usd_per_hour(self) -> float:
        """Of a serving hour."""
        return self.power.usd_per_serving_hour(self.utilization) if self.power else 0.0

    @property
    def usd_per_serving_hour(self) -> float:
        """What an hour that serves costs, the idle ones of its time paid with it."""
        hours = self.years * HOURS_A_YEAR if self.kind == "buy" else 1.0
        return self.usd / (hours * self.utilization) + self.power_usd_per_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What machines serve: requests a second of all of them together at three outlooks, how many machines that takes, and what of their time prompts take."""

    prompt_tokens: int
    output_tokens: int
    requests_per_s: Range
    prompt_share: float
    machines: Range = Range(1, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCost:
    """US dollars of tokens and of a request; conservative is the dear end."""

    usd_per_million_prompt_tokens: Range
    usd_per_million_output_tokens: Range
    usd_per_request: Range


def each(figure: Callable[[float], float], of: Range) -> Range:
    """A figure at each outlook."""
    return Range(figure(of.conservative), figure(of.expected), figure(of.optimistic))


def both(figure: Callable[[float, float], float], first: Range, second: Range) -> Range:
    """A figure of two at each outlook."""
    return Range(figure(first.conservative, second.conservative), figure(first.expected, second.expected), figure(first.optimistic, second.optimistic))


def served_by(speed: SpeedEstimate) -> Served | None:
    """The requests of users who ask again as soon as they are answered; None where nothing is said of prompts. One alone waits for the first token and then for each further one."""
    prompt, output, total, first, share = speed.prompt_tokens, speed.answer_tokens, speed.total_tokens_per_s, speed.ttft_s, speed.prompt_share
    if total is None or first is None or share is None:
        return None
    rate = each(lambda tokens: tokens / output, total)
    if speed.users == 1:
        rate = both(lambda wait, step: 1 / (wait + (output - 1) * step), first, speed.tpot_s)
    return Served(prompt_tokens=prompt, output_tokens=output, requests_per_s=rate, prompt_share=share)


def machines_for(requests_per_s: float, held_per_s: Range) -> Range:
    """Machines that serve a rate, each of which holds so much."""

    def whole(held: float) -> int:
        count = ceil(requests_per_s / held)
        return count - 1 if (count - 1) * held >= requests_per_s else count  # 0.78 / 0.03 is a little more than 26

    return each(whole, held_per_s)


def token_cost(way: Way, served: Served) -> TokenCost:
    """What tokens cost: prompts bear their part of the time, outputs the rest."""
    request = both(lambda rate, count: count * way.usd_per_serving_hour / (3600 * rate), served.requests_per_s, served.machines)
    share = served.prompt_share
    return TokenCost(
        usd_per_million_prompt_tokens=each(lambda usd: usd * share / served.prompt_tokens * MILLION, request),
        usd_per_million_output_tokens=each(lambda usd: usd * (1 - share) / served.output_tokens * MILLION, request),
        usd_per_request=request,
    )


def requests_per_hour_to_equal(way: Way, usd_per_request: float) -> float:
    """Requests in a serving hour from which a machine costs less than paying for each."""
    return way.usd_per_serving_hour / usd_per_request


def months_to_pay(buy_usd: float, saved_usd_per_serving_hour: float, utilization: float = 1.0) -> float:
    """Months until a purchase has saved its price; infinite where an hour saves nothing."""
    if saved_usd_per_serving_hour <= 0:
        return inf
    return buy_usd / (saved_usd_per_serving_hour * HOURS_A_MONTH * utilization)
