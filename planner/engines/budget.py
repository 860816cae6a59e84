"""A server that takes what its ledger says, held against what of a GPU may be used: verdict, sums, what binds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.facts.deployment import Service
from planner.facts.hardware import GpuGroup
from planner.facts.plan import Line, Plan, PlannedModel, Sum
from planner.facts.record import dataclass
from planner.facts.settings import Value
from planner.facts.verdict import ONLY_AT_LOWEST, Rejection, Verdict, verdict_of
from planner.units import GIB, gib, tokens


@dataclass(frozen=True, slots=True)
class Budget:
    """The terms of a ledger, and what may be used of one GPU, as expected and at least."""

    lines: tuple[Line, ...]
    available_bytes: int
    conservative_available_bytes: int
    is_estimated: bool = False
    """Whether what may be used follows from a total that nobody measured."""

    @property
    def used_bytes(self) -> int:
        """The expected sum of the terms."""
        return sum(line.bytes for line in self.lines)

    @property
    def least_bytes(self) -> int:
        """The optimistic sum."""
        return sum(line.low_bytes for line in self.lines)

    @property
    def most_bytes(self) -> int:
        """The conservative sum."""
        return sum(line.high_bytes for line in self.lines)

    @property
    def verdict(self) -> Verdict:
        """By which sums fit."""
        surely = self.most_bytes <= self.conservative_available_bytes
        return verdict_of((surely, self.used_bytes <= self.available_bytes, self.least_bytes <= self.available_bytes))

    @property
    def rejection(self) -> Rejection | None:
        """By how much it is too large."""
        if not self.verdict.falls_short:
            return None
        reason = f"{gib(self.used_bytes)} are needed, {gib(self.available_bytes)} are available"
        reason += f"; {ONLY_AT_LOWEST}" if self.verdict is Verdict.UNLIKELY else ""
        return Rejection(code="out-of-memory", reason=reason, short_by_bytes=self.used_bytes - self.available_bytes)

    def sums(self, host_bytes: int, host_note: str) -> tuple[Sum, ...]:
        """What the terms come to, against what there is, and what lies in main memory."""
        short = self.rejection
        rows = [Sum("needed" if short else "together", self.used_bytes, f"at most {self.most_bytes / GIB:.2f}")]
        if short:
            rows += [
                Sum("there is", self.available_bytes, "that may be used" + (" (estimated)" if self.is_estimated else "")),
                Sum("short by", short.short_by_bytes),
            ]
        return (*rows, *((Sum("main memory", host_bytes, host_note),) if host_bytes else ()))


def budgeted(
    budget: Budget,
    *,
    engine: str,
    version: str,
    model: PlannedModel,
    group: GpuGroup,
    settings: Sequence[tuple[str, Value]],
    reasons: Sequence[tuple[str, str]],
    context: int,
    users: int,
    longest_context: int,
    service: Service,
    layers: int = 0,
    layers_on_gpu: int = 0,
    is_pinned_partial: bool = False,
    host_bytes: int = 0,
    host_note: str = "",
) -> Plan:
    """The plan of one server within its budget; warnings, speed and alternatives are added by its engine."""
    is_whole = layers_on_gpu >= layers
    known = {f"{line.key}_bytes": line.bytes for line in budget.lines if line.key in ("weights", "kv_cache")}
    return Plan(
        engine=engine,
        version=version,
        model=model,
        where=f"({model.quantization}) on {group.label} with {service.engine} {version}",
        group=group,
        gpus=service.gpus or tuple(range(group.count)),
        verdict=budget.verdict,
        lines=tuple(_told(line) for line in budget.lines),
        sums=budget.sums(host_bytes, host_note),
        room_bytes=budget.available_bytes,
        room="available a GPU" if group.count > 1 else "available",
        available_bytes=budget.available_bytes,
        used_bytes=budget.used_bytes,
        held_bytes=budget.most_bytes,
        total_bytes=(budget.least_bytes, budget.used_bytes, budget.most_bytes),
        memory={
            "available_bytes": budget.available_bytes,
            "used_bytes": budget.used_bytes,
            "used_bytes_low": budget.least_bytes,
            "used_bytes_high": budget.most_bytes,
            **known,
            "host_bytes": host_bytes,
        },
        settings=tuple(settings),
        reasons=tuple(reasons),
        context=context,
        users=users,
        longest_context=longest_context,
        service=service,
        layers=layers,
        layers_on_gpu=layers_on_gpu,
        is_pinned_partial=is_pinned_partial,
        host_bytes=host_bytes,
        binds=_binds(budget, context=context, longest=longest_context, limit=model.max_position_embeddings, layers=layers, on_gpu=layers_on_gpu),
        requirements_met=not budget.verdict.falls_short and (is_whole or is_pinned_partial),
        rejection=budget.rejection,
    )


def _told(line: Line) -> Line:
    """A term with its interval in words."""
    if line.low_bytes == line.high_bytes:
        return line
    return replace(line, note=f"{line.low_bytes / GIB:.2f} to {line.high_bytes / GIB:.2f}; {line.note}")


def _binds(budget: Budget, *, context: int, longest: int, limit: int, layers: int, on_gpu: int) -> str:
    """What keeps the server from more, in one line."""
    if budget.verdict.falls_short:
        return ""
    if on_gpu < layers:
        return f"Memory binds: {layers - on_gpu} of {layers} layers run on the CPU, at its speed."
    if context >= limit:
        return f"The model binds: {tokens(limit)} tokens are the longest context it has."
    spare = max(0, budget.available_bytes - budget.used_bytes)
    return f"Memory: {gib(spare)} of {gib(budget.available_bytes)} are left over." if longest > context else "Memory binds the context."
