"""The answer about a runtime that is not vLLM: what it holds of one GPU or Mac, whether that fits, what to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planner.facts.alternatives import Alternative
from planner.facts.deployment import Service
from planner.facts.hardware import GpuGroup
from planner.facts.speed import DOES_NOT_START, NoSpeed, SpeedEstimate
from planner.facts.verdict import Rejection, Verdict, Warn
from planner.units import CONTEXT_STEP, largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One term of the ledger on the fullest GPU: bytes with their interval, and how they are known."""

    key: str
    name: str
    bytes: int
    low_bytes: int
    high_bytes: int
    note: str


def exactly(key: str, name: str, size: int, note: str = "exact") -> Part:
    """A term without uncertainty."""
    return Part(key=key, name=name, bytes=size, low_bytes=size, high_bytes=size, note=note)


def longest_context(limit: int, fits: Callable[[int], bool]) -> int:
    """The longest context that fits: the model's own limit, or else a whole number of steps; 0 where not one step fits."""
    return limit if fits(limit) else CONTEXT_STEP * largest(limit // CONTEXT_STEP, lambda steps: fits(steps * CONTEXT_STEP))


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPlan:
    """Everything a report or an emitter needs about one server of llama.cpp, Ollama or MLX."""

    engine: str
    version: str
    model: str
    architecture: str
    quantization: str
    max_position_embeddings: int
    group: GpuGroup
    parts: tuple[Part, ...]
    available_bytes: int
    conservative_available_bytes: int
    settings: tuple[tuple[str, int | float | str | bool], ...]
    reasons: tuple[tuple[str, str], ...]
    context: int
    users: int
    longest_context: int  # for that many users, before anything leaves the GPU
    service: Service
    layers: int = 0
    layers_on_gpu: int = 0
    host_bytes: int = 0
    host_note: str = "token embeddings, and layers that are not on the GPU"
    warnings: tuple[Warn, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    is_pinned_partial: bool = False
    speed: SpeedEstimate | NoSpeed = DOES_NOT_START

    @property
    def used_bytes(self) -> int:
        """The expected sum of the terms."""
        return sum(part.bytes for part in self.parts)

    @property
    def most_bytes(self) -> int:
        """The conservative sum."""
        return sum(part.high_bytes for part in self.parts)

    @property
    def is_whole(self) -> bool:
        """Whether all layers are on the GPU."""
        return self.layers_on_gpu >= self.layers

    @property
    def verdict(self) -> Verdict:
        """starts: also with conservative figures; tight: with the expected ones; does_not_start."""
        if self.most_bytes <= self.conservative_available_bytes:
            return "starts"
        return "tight" if self.used_bytes <= self.available_bytes else "does_not_start"

    @property
    def rejection(self) -> Rejection | None:
        """By how much it is too large."""
        if self.verdict != "does_not_start":
            return None
        short = self.used_bytes - self.available_bytes
        reason = f"{self.used_bytes / 1024**3:.2f} GiB are needed, {self.available_bytes / 1024**3:.2f} GiB are available"
        return Rejection(code="out-of-memory", reason=reason, short_by_bytes=short)

    @property
    def meets_wish(self) -> bool:
        """Whether it starts with everything on the GPU, or as the user pinned it."""
        return self.verdict != "does_not_start" and (self.is_whole or self.is_pinned_partial)
