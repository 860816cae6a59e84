"""Which machines serve a model as asked, cheapest first: the first engine's grid over all GPUs and counts, other engines on one card, then prices and power."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from math import isfinite

from planner.catalogue.prices import Price, Prices
from planner.engines import ENGINES
from planner.engines.work import weights
from planner.errors import PlannerError
from planner.facts.config import Parallel
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.plan import Plan
from planner.facts.question import ServiceRow, StackRow
from planner.facts.record import dataclass
from planner.facts.speed import NoSpeed, SpeedEstimate, seen_by_each
from planner.facts.verdict import Verdict
from planner.grid.servers import Machines, servers
from planner.questions.machine_sizes import ANY_SIZE, sizes_of
from planner.questions.money import months_to_pay
from planner.questions.offers import Remembered, at_once, weighed
from planner.questions.stored import Stored
from planner.speed.work import shape_of

COUNTS = ANY_SIZE


@dataclass(frozen=True, slots=True)
class Need:
    """What the machine is for: so many tokens of context for so many users at once."""

    context: int
    users: int
    floor: float = 0.0
    """Tokens a second that each user sees at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """GPUs that surely serve the model with the asked context for all asked users, and what they cost."""

    stored: Stored
    plan: Plan
    rent: Price | None  # of one GPU
    buy: Price | None
    kwh_usd: float | None
    is_slow: bool = False  # below the floor, or nobody can tell: told where nothing else serves it

    @property
    def count(self) -> int:
        """GPUs."""
        return self.plan.group.count

    @property
    def gpu(self) -> GpuSpec:
        """One of them."""
        return self.plan.group.gpu

    @property
    def speed(self) -> SpeedEstimate | NoSpeed:
        """Of the asked users."""
        return self.plan.speed

    @property
    def at_once(self) -> float:
        """Requests of the context that are surely served at once."""
        return at_once(self.plan)

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
        power = self.gpu.power_w
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
    """The cheapest machines, at most `top` of them, and how many GPUs could serve the model at all. Raises PlannerError where none can.

    Of each GPU the fewest that are fast enough; those below the floor only where no machine reaches it.
    """
    sizes = _sizes(stored, gpus, need, [sizes_of(gpu, prices) for gpu in gpus])
    waiting = [(_cost(gpus[index], held[0][0], prices), index, 0) for index, held in sizes.items()]
    heapify(waiting)
    plans = _Plans(need, prices)
    quick: list[Machine] = []
    slow: dict[int, Machine] = {}
    could = set(sizes)
    while waiting and len(quick) < top:
        _, index, place = heappop(waiting)
        machine = plans.machine(gpus[index], *sizes[index][place])
        if machine is not None:
            if not machine.is_slow:
                quick.append(machine)
                continue
            slow.setdefault(index, machine)
        if place + 1 < len(sizes[index]):
            heappush(waiting, (_cost(gpus[index], sizes[index][place + 1][0], prices), index, place + 1))
        elif index not in slow:
            could.discard(index)
    shown = (quick or list(slow.values()))[:top]
    if not shown:
        raise PlannerError(
            f"no machine of up to {COUNTS[-1]} equal GPUs that is rented or sold surely serves that",
            "a shorter --context, fewer --users, or another quantization",
        )
    return sorted(shown, key=lambda machine: _order(machine, need, prices)), len(could)


def _order(machine: Machine, need: Need, prices: Prices) -> tuple[int, float, float, float]:
    """Of those that cost the same the fastest first, then the one that holds most."""
    cost = _cost(machine.gpu, machine.count, prices)
    return *cost[:2], -(seen_by_each(machine.speed, need.users) or 0.0), -machine.at_once


def _sizes(stored: Sequence[Stored], gpus: Sequence[GpuSpec], need: Need, existing: Sequence[Sequence[int]]) -> dict[int, list[tuple[int, Stored]]]:
    """For each GPU (its index) how many of a machine that exists (`existing`) do what is asked with vLLM's own batch, the fewest first; of each number the least quantized weights that it holds first.

    What surely is below the floor is left out, where something is not.
    """
    grid = Machines(tuple(gpus), COUNTS, users=need.users)
    sizes: dict[int, list[tuple[int, Stored]]] = {}
    for store in sorted(stored, key=lambda item: -item.bits):
        if store.engine:
            for gpu in _single_cards(store, gpus, need, existing):
                sizes.setdefault(gpu, []).append((1, store))
            continue
        held = servers(store.name, store.model, grid, (need.context,))
        if held is None:
            continue
        enough = (held.verdict[:, 0] == Verdict.STARTS.rank) & (held.users[:, 0] >= need.users)
        for gpu, count in sorted(set(zip(held.gpu[enough].tolist(), held.world_size[enough].tolist(), strict=True))):
            if count in existing[gpu] and gpus[gpu].capability >= store.least_capability:
                sizes.setdefault(gpu, []).append((count, store))
    read = {id(store): _least_read_bytes(store.model) * store.share for store in stored}
    for gpu, held_by in sizes.items():
        held_by.sort(key=lambda item: (item[0], bool(item[1].engine)))  # the order of bits stays within a number, and the first engine before the others
        quick = [(count, store) for count, store in held_by if gpus[gpu].bandwidth_bytes_per_s * count >= need.floor * read[id(store)]]
        sizes[gpu] = quick or held_by[-1:]
    return sizes


def _single_cards(store: Stored, gpus: Sequence[GpuSpec], need: Need, existing: Sequence[Sequence[int]]) -> list[int]:
    """The GPUs of which one alone may hold what another engine stores, and for which that engine is weighed as it is where models are chosen for a GPU."""
    return [
        index
        for index, gpu in enumerate(gpus)
        if 1 in existing[index] and store.size_bytes < gpu.cuda_total_bytes and store.engine in _other(weighed(GpuGroup(gpu=gpu, count=1), need.users))
    ]


def _other(names: Sequence[str]) -> Sequence[str]:
    """Of engines that read the same files the first, beside the first engine of all."""
    return [name for name in names if name != next(iter(ENGINES))][:1]


def _least_read_bytes(model: ModelSpec) -> float:
    """What all GPUs together read for one token, at least."""
    held, shape = weights(model, Parallel()), shape_of(model)
    return held.dense_bytes + held.expert_bytes * min(shape.experts_per_token, shape.experts) / max(1, shape.experts)


def _cost(gpu: GpuSpec, count: int, prices: Prices) -> tuple[int, float, int]:
    """Cheapest rent first, then cheapest to buy, then what has no price: the least memory."""
    rent, buy = prices.rent.get(gpu.name), prices.buy.get(gpu.name)
    if rent:
        return 0, rent.usd * count, count
    return (1, buy.usd * count, count) if buy else (2, float(gpu.memory_bytes * count), count)


class _Plans:
    """Plans of machines for one need, at some prices; a model is built once."""

    def __init__(self, need: Need, prices: Prices) -> None:
        self.need, self.prices, self.catalogue = need, prices, Remembered()

    def machine(self, gpu: GpuSpec, count: int, store: Stored) -> Machine | None:
        """One machine; None where it does not surely do what is asked with everything on the GPUs."""
        need, prices, engine = self.need, self.prices, store.engine or next(iter(ENGINES))
        port = ENGINES[engine].first_port
        service = ServiceRow(model=store.name, quantization=store.form, context=need.context, users=need.users, port=port)
        try:
            plan = ENGINES[engine].as_asked(
                StackRow(gpu=gpu.name, count=count, engine=engine, services=[service]), GpuGroup(gpu=gpu, count=count), self.catalogue
            )
        except PlannerError:
            return None
        if store.engine and not (plan.verdict is Verdict.STARTS and plan.is_all_on_gpus and plan.users >= need.users and plan.context >= need.context):
            return None
        rate = seen_by_each(plan.speed, need.users)
        is_slow = rate < need.floor if rate is not None else need.floor > 0  # what nobody can tell is not said to be fast enough
        return Machine(stored=store, plan=plan, is_slow=is_slow, rent=prices.rent.get(gpu.name), buy=prices.buy.get(gpu.name), kwh_usd=prices.kwh_usd)
