"""Several smaller servers instead of one over PCIe: at load they are often faster together, for they exchange nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.engines.vllm.choice import Request
from planner.engines.vllm.pace import estimate, paces
from planner.engines.vllm.plan import Plan
from planner.engines.vllm.search import is_possible
from planner.errors import PlannerError
from planner.facts.record import dataclass
from planner.facts.speed import NoSpeed
from planner.facts.verdict import Verdict, Warn
from planner.speed.estimate import Pace
from planner.units import ceil_div

WORTH_IT = 1.15  # by how much all users together must gain before it is said


@dataclass(frozen=True, slots=True)
class Replicas:
    """So many servers of so many GPUs each, and what they give beside one server of all: tokens of all users together, of a lone one."""

    servers: int
    gpus_each: int
    users: int
    together: float
    alone: float

    @property
    def warn(self) -> Warn:
        """In words."""
        gpus = "one GPU" if self.gpus_each == 1 else f"{self.gpus_each} GPUs"
        gain = f"about {self.together:.1f} times the tokens a second of all {self.users} users, a lone one {self.alone:.1f} times its own"
        return Warn(code="replicas", message=f"over PCIe, {self.servers} servers of {gpus} each would give {gain}; `plan capacity` compares them")


@dataclass(frozen=True, slots=True)
class Divided:
    """Users shared out over servers as evenly as they can be."""

    each: Pace
    users: int
    servers: int
    lengths: tuple[int, int]

    def of(self, pace: Pace, users: int) -> float:
        """Tokens a second that a server of this pace gives so many users together."""
        return pace.seen(users, *self.lengths).total_tokens_per_s if users else 0.0

    @property
    def together(self) -> float:
        """Tokens a second of all."""
        fewer, more = divmod(self.users, self.servers)
        return more * self.of(self.each, fewer + 1) + (self.servers - more) * self.of(self.each, fewer)

    def alone_beside(self, pace: Pace) -> float:
        """A lone user's speed beside that on one server of all GPUs."""
        return pace.seen(1, *self.lengths).per_token_s / self.each.seen(1, *self.lengths).per_token_s


def replicas(plan: Plan, plan_for: Callable[[Request], Plan]) -> Replicas | None:
    """The best division of a plan's GPUs into servers that surely start and hold all users with the same context, where it is worth saying."""
    request, config = plan.request, plan.config
    group, pins = request.group, request.pins
    if group.gpu.nvlink or config.tensor_parallel_size == 1 or pins.tensor_parallel_size or group.nodes > 1:
        return None
    shown, whole = estimate(plan), paces(plan)
    if isinstance(shown, NoSpeed) or isinstance(whole, NoSpeed):
        return None
    divisions = []
    for size in (size for size in range(1, group.count) if group.count % size == 0):
        servers = group.count // size
        asked = replace(
            request, group=replace(group, count=size), context=config.max_model_len, users=ceil_div(request.users, servers) if request.users else None
        )
        try:
            if not is_possible(asked):
                continue
            smaller = plan_for(asked)
        except PlannerError:
            continue
        known = paces(smaller)
        if smaller.verdict is Verdict.STARTS and not isinstance(known, NoSpeed):
            divided = Divided(known[1], shown.users, servers, (shown.prompt_tokens, shown.answer_tokens))
            divisions.append(Replicas(servers, size, shown.users, divided.together / divided.of(whole[1], shown.users), divided.alone_beside(whole[1])))
    best = max(divisions, key=lambda division: division.together, default=None)
    return best if best is not None and best.together >= WORTH_IT else None
