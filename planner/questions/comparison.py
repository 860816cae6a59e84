"""What ways to serve one model on one machine come to, and which is best for what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from planner.facts.hardware import GpuSpec
from planner.facts.record import dataclass
from planner.facts.verdict import Verdict
from planner.questions.cost_terms import PricedWay
from planner.questions.money import Served, TokenCost, token_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLoad:
    """What a row serves at one load: as many requests at once as users were asked, or as it holds."""

    load: Literal["asked", "full"]
    concurrency: int
    served: Served
    kv_cache: str
    """The type of the KV cache that holds them, as the engine names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One runtime's answer; `refusal` instead where it cannot serve the model here. Bytes are of the fullest GPU."""

    engine: str
    quantization: str = ""
    verdict: Verdict | Literal[""] = ""
    context: int = 0
    users: float = 0.0
    used_bytes: int = 0
    available_bytes: int = 0
    tokens_per_s: float | None = None
    speed_reason: str | None = None  # why there are no tokens_per_s
    layers_on_cpu: int = 0
    layers: int = 0
    host_bytes: int = 0  # of main memory
    kv_cache: str = ""  # its type, as the engine names it
    requirements_met: bool = True  # whether it does what is asked
    agent_safe: str = ""
    agent_note: str = ""
    steps: tuple[str, ...] = ()
    refusal: str = ""
    bits: int = 0  # the class of its weights: 16, 8 or 4; 0 where a file is served as it is
    arguments: str = ""  # what `plan` is told to plan exactly this
    longest_context: int = 0  # of one user, surely
    users_context: int = 0  # `users_held` users of so many tokens each, surely; at most MOST_USERS are counted
    users_held: int = 0
    users_kv_cache: str = ""  # with which cache they are held: one of 16 bits for every runtime, or its own where that holds fewer than asked
    total_tokens_per_s: float | None = None  # of those users together
    loads: tuple[RowLoad, ...] = ()  # of one that is sure: the asked one, where users were asked, then the full one
    no_cost: str = ""  # why it has no loads, of which tokens have their prices

    @property
    def is_sure(self) -> bool:
        """Whether it surely starts with everything on the GPU, and does what is asked."""
        return self.verdict == Verdict.STARTS and self.requirements_met and not self.layers_on_cpu and not self.refusal

    @property
    def first_load(self) -> RowLoad | None:
        """The asked load, or else the full one."""
        return next(iter(self.loads), None)

    @property
    def full_load(self) -> RowLoad | None:
        """As many at once as it holds."""
        return next((load for load in self.loads if load.load == "full"), None)


@dataclass(frozen=True, slots=True)
class Best:
    """What of the compared is best for something: those that reach the value, which is the highest of all that surely start."""

    what: str
    value: float
    rows: tuple[Compared, ...]


FIGURES: Mapping[str, Callable[[Compared], float]] = {
    "longest context": lambda row: row.longest_context,
    "fastest for one user": lambda row: row.tokens_per_s or 0.0,
    "most users": lambda row: row.users_held,
    "most tokens/s together": lambda row: row.total_tokens_per_s or 0.0,
}
"""What is better the more of it there is; 0 where nothing is said."""
CHEAPEST: Mapping[str, Literal["rent", "buy"]] = {"cheapest output tokens, rented": "rent", "cheapest output tokens, bought": "buy"}
"""What is better the less it is: US dollars of a million output tokens, at the asked load or else at the full one."""


def conclusion(rows: Sequence[Compared]) -> tuple[Best, ...]:
    """Who holds the longest context, answers one user fastest, holds most users, answers most of them together; nothing where nothing surely starts."""
    sure = [row for row in rows if row.is_sure]
    bests = []
    for what, figure in FIGURES.items():
        value = max(map(figure, sure), default=0)
        if value:
            bests.append(Best(what, value, tuple(row for row in sure if figure(row) == value)))
    return tuple(bests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All ways of one model on one machine."""

    gpu: GpuSpec
    count: int
    model: str
    rows: tuple[Compared, ...]
    asked: str = "plan"  # the words that name the machine
    cost_asked: str = "plan cost"  # the words that ask what its tokens cost
    users: int = 0  # asked; 0 where nobody said
    ways: tuple[PricedWay, ...] = ()  # to have the machine, as far as somebody says what it costs
    notes: tuple[str, ...] = ()  # whose prices of one GPU they are, and what they are not of

    @property
    def best(self) -> tuple[Best, ...]:
        """Which is best for what, and whose tokens cost least."""
        return (*conclusion(self.rows), *self._cheapest())

    def _cheapest(self) -> tuple[Best, ...]:
        bests = []
        for what, kind in CHEAPEST.items():
            costs = [(cost.usd_per_million_output_tokens.expected, row) for row in self.rows if (cost := self.cost(row, kind))]
            if costs:
                least = min(usd for usd, _ in costs)
                bests.append(Best(what, least, tuple(row for usd, row in costs if usd == least)))
        return tuple(bests)

    def way(self, kind: Literal["rent", "buy"]) -> PricedWay | None:
        """Renting or buying it; None where nobody says what that costs."""
        return next((priced for priced in self.ways if priced.way.kind == kind), None)

    def cost(self, row: Compared, kind: Literal["rent", "buy"]) -> TokenCost | None:
        """What a row's tokens cost at its first load; None where it has none or the machine has no such price."""
        priced, load = self.way(kind), row.first_load
        return token_cost(priced.way, load.served) if priced and load and row.is_sure else None


@dataclass(frozen=True, slots=True)
class Lead:
    """Where the most is reached of all machines and models (of money the least): the value, those that reach it, and what the best of the others does (0: nothing)."""

    what: str
    value: float
    first: tuple[Comparison, ...]
    second: float
    others: tuple[Comparison, ...]

    @property
    def times(self) -> float:
        """How many times as much (of money less than once) as the best of the others; 0 where they reach nothing, or there are none."""
        return self.value / self.second if self.second else 0.0


def leads(comparisons: Sequence[Comparison]) -> tuple[Lead, ...]:
    """For everything that something is best for, which machine and model; users are of one length only where models are alike, so that each says its own."""
    whats = dict.fromkeys(what for what in (*FIGURES, *CHEAPEST) if any(reached(comparison, what) for comparison in comparisons))
    told = []
    for what in whats:
        values = [(reached(comparison, what), comparison) for comparison in comparisons]
        order = sorted({number for number, _ in values if number}, reverse=what in FIGURES)
        value, second = order[0], order[1] if len(order) > 1 else 0.0
        first, others = (tuple(each for number, each in values if number == wanted) for wanted in (value, second))
        told.append(Lead(what, value, first, second, others if second else ()))
    return tuple(told)


def reached(comparison: Comparison, what: str) -> float:
    """The best value of a machine and a model for something; 0 where nothing surely starts."""
    return next((best.value for best in comparison.best if best.what == what), 0.0)
