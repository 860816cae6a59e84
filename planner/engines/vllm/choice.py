"""The question and one possible answer: what is asked and pinned, and a configuration with its ledgers."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor
from typing import Literal

from planner.engines.vllm.memory import MemoryBreakdown
from planner.engines.vllm.settings import Pins, ServeConfig
from planner.facts.hardware import GpuGroup, Host
from planner.facts.model import ModelSpec
from planner.facts.verdict import Verdict

HIGHEST_UTILIZATION = 0.95  # above it drafters and late graphs run out of memory (consumer starts at 0.96-0.98)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The question: this model, these GPUs, this wish."""

    model: ModelSpec
    group: GpuGroup
    pins: Pins = field(default_factory=Pins)
    context: int | None = None
    users: int | None = None


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
    expected: MemoryBreakdown
    conservative: MemoryBreakdown
    optimistic: MemoryBreakdown
    reasons: tuple[tuple[str, str], ...] = ()
    claims: tuple[Claim, ...] = ()
    longest_with_graphs: int | None = None  # where CUDA graphs were given up: the context that would have kept them, 0 for none

    @property
    def verdict(self) -> Verdict:
        """starts: also with conservative coefficients; does_not_start: not even with the expected ones; tight: between."""
        if self.conservative.starts:
            return "starts"
        return "tight" if self.expected.starts else "does_not_start"


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


def serves_users(request: Request, choice: Choice) -> bool:
    """Whether all users can hold full-length requests at once."""
    return choice.expected.max_concurrency >= (request.users or 1)
