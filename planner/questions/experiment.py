"""A plan beside a server that runs it: at which numbers of requests at once, what holds of what was predicted, by how much it is off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from planner.catalogue import load
from planner.engines import ENGINES
from planner.errors import PlannerError
from planner.facts.hardware import Calibrated
from planner.facts.plan import Plan
from planner.facts.question import StackRow
from planner.facts.record import dataclass
from planner.facts.speed import NoSpeed, Point, Range, SpeedEstimate
from planner.questions.plan import plan_as_asked
from planner.speed.estimate import Pace

MOST_AT_ONCE = 32  # of those that fit: an experiment takes a minute or two
Metric = Literal["ttft_s", "tpot_s", "output_tokens_per_s"]
FAR = 5.0  # measured over predicted, either way: rather another GPU, model or kind of load than what the roofline leaves open


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One prediction beside what was measured: its ends, and whether it holds."""

    metric: Metric
    measured: float
    low: float
    expected: float
    high: float

    @property
    def inside(self) -> bool:
        """Whether it was within the interval."""
        return self.low <= self.measured <= self.high

    @property
    def off(self) -> float:
        """By which share of what was expected it was more or, negative, less."""
        return self.measured / self.expected - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What so many users saw beside what was predicted for them, or why nothing was."""

    point: Point
    speed: SpeedEstimate | NoSpeed
    predictions: tuple[Held, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A plan, the model that the server was asked for, what was seen at each number of users, and what later plans may count with."""

    row: StackRow
    plan: Plan
    served: str
    compared: tuple[Compared, ...]
    kept: Calibrated | NoSpeed
    """Measured over predicted by the constants alone, or why that cannot be said."""

    @property
    def public_gpu(self) -> str:
        """The name of a card that everybody knows."""
        with load.using(load.Catalogue()):
            try:
                return load.find_gpu(self.plan.group.gpu.name).name
            except PlannerError:
                return "custom"

    @property
    def public_model(self) -> str:
        """The catalogue's name of a model; of one of somebody's own, or a folder, its architecture."""
        with load.using(load.Catalogue()):
            entry = load.find_model(self.row.services[0].model)
        return entry.name if entry else self.plan.model.architecture

    @property
    def is_far(self) -> bool:
        """Whether it is so far from the prediction that something else than was planned may have been measured."""
        kept = self.kept
        return isinstance(kept, Calibrated) and any(not 1 / FAR <= factor <= FAR for factor in (kept.step, kept.first_token))


def points_of(plan: Plan, tokens: int) -> tuple[int, ...]:
    """One user alone, those that the plan is for, and as many as fit with requests of so many tokens, at most MOST_AT_ONCE unless more are asked."""
    settings = dict(plan.settings)
    seats, cache = settings.get("max_num_seqs"), plan.memory.get("kv_cache_tokens")
    fit = min(int(seats), int(cache) // tokens) if isinstance(seats, int) and cache else plan.users
    asked = plan.users_asked or plan.service.users or 1
    return tuple(sorted({1, min(asked, max(fit, 1)), max(1, min(fit, MOST_AT_ONCE))}))


def with_load(row: StackRow, prompt: int, answer: int, users: int | None = None) -> StackRow:
    """The question with the load that its speed is for."""
    main, *others = row.services
    return replace(row, services=[replace(main, input=prompt, output_tokens=answer, concurrency=users), *others])


def experiment(row: StackRow, plan: Plan, served: str, points: Sequence[Point]) -> Experiment:
    """What was measured beside the predictions for the same load. Raises PlannerError where the question cannot be asked so."""
    alone = replace(row, services=row.services[:1])
    compared = []
    for point in points:
        speed = plan_as_asked(with_load(alone, point.prompt_tokens, point.answer_tokens, point.users)).speed
        compared.append(Compared(point=point, speed=speed, predictions=_held(point, speed)))
    return Experiment(row=row, plan=plan, served=served, compared=tuple(compared), kept=_kept(row, plan, points))


def _held(point: Point, speed: SpeedEstimate | NoSpeed) -> tuple[Held, ...]:
    """The predictions of one number of users that can be held against what was seen."""
    if isinstance(speed, NoSpeed):
        return ()
    seen: tuple[tuple[Metric, float, Range | None], ...] = (
        ("ttft_s", point.first_token_s, speed.ttft_s),
        ("tpot_s", point.per_token_s, speed.tpot_s),
        ("output_tokens_per_s", point.tokens_per_s, speed.total_tokens_per_s if point.users > 1 else None),
    )
    return tuple(
        Held(metric=name, measured=value, expected=ends.expected, low=min(ends.conservative, ends.optimistic), high=max(ends.conservative, ends.optimistic))
        for name, value, ends in seen
        if ends is not None
    )  # fmt: skip


def _kept(row: StackRow, plan: Plan, points: Sequence[Point]) -> Calibrated | NoSpeed:
    """Measured over what the constants alone say, of one user and, beyond that, of the most at once."""
    known = ENGINES[plan.engine].paces(plan)
    if isinstance(known, NoSpeed):
        return known
    pace = Pace(known[1].work)
    first, step, _ = _factors(pace, points[0])
    most_first, most_step, most_total = _factors(pace, points[-1])
    entry = load.find_model(row.services[0].model)
    return Calibrated(
        step=step,
        first_token=first,
        count=plan.group.count,
        model=entry.name if entry else plan.model.architecture,
        engine=pace.work.engine,
        users=points[-1].users,
        crowd_step=most_step / step,
        crowd_first_token=most_first / first,
        crowd_total=most_total / step,
    )


def _factors(pace: Pace, point: Point) -> tuple[float, float, float]:
    """By how much longer than computed first tokens, further ones and all answers took."""
    computed = pace.seen(point.users, point.prompt_tokens, point.answer_tokens)
    return point.first_token_s / computed.first_token_s, point.per_token_s / computed.per_token_s, computed.total_tokens_per_s / point.tokens_per_s
