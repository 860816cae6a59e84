"""The question and one possible answer: what is asked and pinned, and a configuration with its ledgers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from math import floor
from typing import Literal

from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.ledger import MemoryBreakdown
from planner.engines.vllm.settings import Pins, ServeConfig
from planner.facts.hardware import GpuGroup, Host
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass
from planner.facts.speed import Load
from planner.facts.verdict import Verdict, verdict_of

HIGHEST_UTILIZATION = 0.95  # above it drafters and late graphs run out of memory (consumer starts at 0.96-0.98)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The question: this model, these GPUs, this wish."""

    model: ModelSpec
    group: GpuGroup
    pins: Pins = field(default_factory=Pins)
    context: int | None = None
    users: int | None = None
    load: Load = field(default_factory=Load)
    """What the speed is for."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a reason says of another value, all other settings as chosen: what comes of a plan with these pins."""

    setting: str
    pins: tuple[tuple[str, int | float | str | bool], ...]
    outcome: Literal["not sure", "fewer users", "shorter", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One configuration with its ledger at the three outlooks."""

    config: ServeConfig
    at: Callable[[Outlook], MemoryBreakdown] = field(compare=False)
    """The ledger at an outlook."""
    reasons: tuple[tuple[str, str], ...] = ()
    claims: tuple[Claim, ...] = ()
    longest_with_graphs: int | None = None  # where CUDA graphs were given up: the context that would have kept them, 0 for none

    @property
    def expected(self) -> MemoryBreakdown:
        """By the fit."""
        return self.at(Outlook.EXPECTED)

    @property
    def conservative(self) -> MemoryBreakdown:
        """At the end that takes most."""
        return self.at(Outlook.CONSERVATIVE)

    @property
    def optimistic(self) -> MemoryBreakdown:
        """At the end that takes least."""
        return self.at(Outlook.OPTIMISTIC)

    @property
    def verdict(self) -> Verdict:
        """By which outlooks fit."""
        return verdict_of(self.at(outlook).starts for outlook in (Outlook.CONSERVATIVE, Outlook.EXPECTED, Outlook.OPTIMISTIC))

    @property
    def surest(self) -> MemoryBreakdown:
        """The ledger that surely holds where the server surely starts, else the expected one: what is said of users is said of this."""
        return self.conservative if self.verdict is Verdict.STARTS else self.expected

    def holds(self, users: int | None) -> bool:
        """Whether so many users hold requests of full length at once, as surely as the server starts; true where none are asked."""
        return users is None or self.surest.admitted_requests * self.config.data_parallel_size >= users


def safe_utilization(group: GpuGroup, tp: int) -> float:
    """The share of total memory that is safely free at start, to two decimals (three beside other servers)."""
    steps = 1000 if group.taken_bytes else 100  # beside others every hundredth counts
    free = group.free_at_start_bytes(tp) / group.total_bytes
    return max(1 / steps, min(HIGHEST_UTILIZATION, floor((free - 0.01) * steps) / steps))


def utilization(request: Request, tp: int) -> tuple[float, str]:
    """The share of total memory that a server asks for, and why."""
    if request.pins.gpu_memory_utilization is not None:
        return request.pins.gpu_memory_utilization, "pinned"
    group = request.group
    free, total, share = group.free_at_start_bytes(tp), group.total_bytes, safe_utilization(group, tp)
    where = {Host.SERVER: "a server", Host.DESKTOP: "a desktop", Host.WSL2: "WSL2"}[group.host]
    if group.taken_bytes:
        where += f" beside servers that hold {group.taken_bytes / 1024**3:.2f} GiB"
    free_words = f"{free / 1024**3:.2f} of {total / 1024**3:.2f} GiB are free at start on {where}"
    if share == HIGHEST_UTILIZATION:
        return share, f"the most that is planned: graphs and workspaces outside vLLM's budget need the rest; {free_words}"
    return share, f"{free_words}; 1 % is kept back, and the CUDA context and NCCL lie outside vLLM's budget"
