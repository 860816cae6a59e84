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

# Above it drafters' and models' graphs run out of memory: 1x3090-gemma4-26b-awq-int8kv-0.96 and v0-a10-gemma3-27b-int4-awq in consumer_starts.yaml,
# vllm#33155 (0.97), vllm#57475 and vllm#15598 (0.98), beside seven that started with graphs there and in field_vllm.yaml.
HIGHEST_UTILIZATION = 0.95


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
    late_bytes: int = 0  # what attention works in, reserved once the cache is sized
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
        """By which outlooks fit; never sure where too little is left beside the budget."""
        return verdict_of(self._fits(outlook) for outlook in (Outlook.CONSERVATIVE, Outlook.EXPECTED, Outlook.OPTIMISTIC))

    def _fits(self, outlook: Outlook) -> bool:
        return bool(self.at(outlook).starts) and not (outlook is Outlook.CONSERVATIVE and (self.leaves_too_little or self.lacks_late))

    @property
    def lacks_late(self) -> bool:
        """Whether what is reserved once the cache is there may not be free then."""
        return self.late_bytes > 0 and bool(self.conservative.short_of_free_bytes > -self.late_bytes)

    @property
    def leaves_too_little(self) -> bool:
        """Whether more is asked for than the planner ever does, and graphs are to come: of a dozen such starts that people reported five ran out of memory."""
        config = self.config
        pinned = config.kv_cache_memory_bytes is not None or config.num_gpu_blocks_override is not None
        captures = not config.enforce_eager and config.max_cudagraph_capture_size != 0
        return config.gpu_memory_utilization > HIGHEST_UTILIZATION and captures and not pinned and self.expected.kv_block_bytes > 0

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
