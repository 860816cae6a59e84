"""Which machines serve a model as asked, cheapest first: the grid over all GPUs and counts, then prices and power."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from planner.catalogue.prices import Price, Prices
from planner.engines.vllm.choice import Request
from planner.engines.vllm.pace import estimate
from planner.engines.vllm.plan import Plan, plan_as_asked
from planner.engines.vllm.settings import Pins
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass
from planner.facts.speed import NoSpeed, SpeedEstimate
from planner.facts.verdict import Verdict
from planner.grid.servers import Machines, servers
from planner.questions.machine_sizes import ANY_SIZE, sizes_of
from planner.questions.money import months_to_pay

COUNTS = ANY_SIZE


@dataclass(frozen=True, slots=True)
class Stored:
    """One way to store the model: how `plan` names it, the repository, bits of most weights."""

    name: str
    repo: str
    bits: int
    model: ModelSpec


@dataclass(frozen=True, slots=True)
class Need:
    """What the machine is for: so many tokens of context for so many users at once."""

    context: int
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """GPUs that surely serve the model with the asked context for all asked users, and what they cost."""

    stored: Stored
    plan: Plan
    speed: SpeedEstimate | NoSpeed
    rent: Price | None  # of one GPU
    buy: Price | None
    kwh_usd: float | None

    @property
    def count(self) -> int:
        """GPUs."""
        return self.plan.request.group.count

    @property
    def rent_usd_per_hour(self) -> float | None:
        """All GPUs, rented."""
        return self.rent.usd * self.count if self.rent else None

    @property
    def buy_usd(self) -> float | None:
        """All GPUs, bought."""
        return self.buy.usd * self.count if self.buy else None

    @property
    def power_w(self) -> int | None:
        """All GPUs at full load."""
        power = self.plan.request.group.gpu.power_w
        return power * self.count if power else None

    @property
    def pays_off_after_months(self) -> float | None:
        """Months of full use after which buying costs less than renting, power included where a kilowatt hour has a price."""
        if self.rent_usd_per_hour is None or self.buy_usd is None:
            return None
        running = (self.power_w or 0) / 1000 * (self.kwh_usd or 0.0)
        months = months_to_pay(self.buy_usd, self.rent_usd_per_hour - running)
        return months if isfinite(months) else None


def machines(stored: Sequence[Stored], gpus: Sequence[GpuSpec], need: Need, prices: Prices, top: int) -> tuple[list[Machine], int]:
    """The cheapest machines, at most `top` of them, and how many GPUs could serve the model at all. Raises PlannerError where none can."""
    smallest = _smallest(stored, gpus, need, [sizes_of(gpu, prices) for gpu in gpus])
    if not smallest:
        raise PlannerError(
            f"no machine of up to {COUNTS[-1]} equal GPUs that is rented or sold surely serves that",
            "a shorter --context, fewer --users, or another quantization",
        )
    ranked = sorted(smallest.items(), key=lambda item: _cost(gpus[item[0]], item[1][0], prices))
    return [_machine(gpus[index], count, store, need, prices) for index, (count, store) in ranked[:top]], len(ranked)


def _smallest(stored: Sequence[Stored], gpus: Sequence[GpuSpec], need: Need, sizes: Sequence[Sequence[int]]) -> dict[int, tuple[int, Stored]]:
    """For each GPU (its index) the fewest of a machine that exists (`sizes`) that do what is asked with vLLM's own batch, with the least quantized weights that so many hold."""
    grid = Machines(tuple(gpus), COUNTS, users=need.users)
    smallest: dict[int, tuple[int, Stored]] = {}
    for store in sorted(stored, key=lambda item: -item.bits):
        held = servers(store.name, store.model, grid, (need.context,))
        if held is None:
            continue
        enough = (held.verdict[:, 0] == Verdict.STARTS.rank) & (held.users[:, 0] >= need.users)
        for gpu, count in sorted(set(zip(held.gpu[enough].tolist(), held.world_size[enough].tolist(), strict=True))):
            if count in sizes[gpu] and (gpu not in smallest or count < smallest[gpu][0]):
                smallest[gpu] = (count, store)
    return smallest


def _cost(gpu: GpuSpec, count: int, prices: Prices) -> tuple[int, float, int]:
    """Cheapest rent first, then cheapest to buy, then what has no price: the least memory."""
    rent, buy = prices.rent.get(gpu.name), prices.buy.get(gpu.name)
    if rent:
        return 0, rent.usd * count, count
    return (1, buy.usd * count, count) if buy else (2, float(gpu.memory_bytes * count), count)


def _machine(gpu: GpuSpec, count: int, store: Stored, need: Need, prices: Prices) -> Machine:
    request = Request(model=store.model, group=GpuGroup(gpu=gpu, count=count), pins=Pins(), context=need.context, users=need.users)
    plan = plan_as_asked(request, repo=store.repo, served_name=store.name)
    return Machine(stored=store, plan=plan, speed=estimate(plan), rent=prices.rent.get(gpu.name), buy=prices.buy.get(gpu.name), kwh_usd=prices.kwh_usd)
