"""The plan of one server, of whichever engine: settings with their reasons, the ledger, the verdict, the speed, what to start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from enum import StrEnum

from planner.facts.alternatives import Alternative
from planner.facts.deployment import Service
from planner.facts.hardware import GpuGroup
from planner.facts.not_covered import NotCovered
from planner.facts.record import dataclass
from planner.facts.settings import Value
from planner.facts.speed import NOT_ASKED, NoSpeed, Range, SpeedEstimate
from planner.facts.verdict import Rejection, Verdict, Warn
from planner.units import CONTEXT_STEP, largest


class How(StrEnum):
    """How a term of the ledger is known."""

    EXACT = "exact"
    """Equal to what the engine counts."""
    CALIBRATED = "calibrated"
    """Fitted to real starts, with what these leave open."""
    DERIVED = "derived"
    """By a formula that real starts bear out within its ends."""
    ESTIMATED = "estimated"
    """Nobody measured it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One term of the ledger on the fullest GPU: bytes with their interval, and how they are known."""

    key: str
    name: str
    bytes: int
    low_bytes: int
    high_bytes: int
    how: How
    note: str


def exactly(key: str, name: str, size_bytes: int, note: str = "exact") -> Line:
    """A term without uncertainty."""
    return Line(key=key, name=name, bytes=size_bytes, low_bytes=size_bytes, high_bytes=size_bytes, how=How.EXACT, note=note)


@dataclass(frozen=True, slots=True)
class Sum:
    """What terms come to, or what there is of it: a row below the ledger's terms."""

    name: str
    bytes: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """What is served, as the engine is told it."""

    id: str
    architecture: str
    quantization: str | None
    max_position_embeddings: int
    keeps_cache: bool = True  # an encoder keeps no KV cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that keeps a command from starting, in the engine's terms; `code` is stable."""

    code: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a report, a page, the JSON contract or an emitter needs of one server; `own` is the engine's and read by nobody else."""

    engine: str
    version: str
    model: PlannedModel
    where: str
    """The machine and the engine in words that follow the model."""
    group: GpuGroup
    gpus: tuple[int, ...]
    verdict: Verdict
    lines: tuple[Line, ...]
    sums: tuple[Sum, ...]
    room_bytes: int
    """What the terms are held against: all of a GPU, or what of it may be used."""
    room: str
    """What that is, in words that follow its size."""
    available_bytes: int
    """What is free of one GPU at start, or may be used."""
    used_bytes: int
    """The expected sum of the terms that are taken, KV cache included."""
    held_bytes: int
    """The most that the process takes of each of its GPUs."""
    total_bytes: tuple[int, int, int]
    """What the process takes of one GPU: least, expected, most."""
    memory: Mapping[str, int | float]
    """Further numbers of the ledger, by the contract's keys (docs/json.md)."""
    settings: tuple[tuple[str, Value], ...]
    reasons: tuple[tuple[str, str], ...]
    told: tuple[str, ...] = ()
    """Settings that are told even of a server that does not start, beside what was pinned or asked."""
    context: int
    users: int
    service: Service
    context_asked: int = 0  # 0: nothing was asked
    users_asked: int = 0
    longest_context: int = 0
    sharing: int = 1
    """Requests that share each cache of `context` tokens: at full length one of them has it."""
    concurrency: Range | None = None  # requests of full length at once, where the engine counts them
    backend: str = ""
    binds: str = ""
    """What keeps the server from more, in one sentence."""
    layers: int = 0
    layers_on_gpu: int = 0
    layers_divided: int = 0
    """Of those on the GPUs, such as have experts in main memory."""
    is_made_here: bool = False
    """Whether its weights are made of the published ones before it starts."""
    is_pinned_partial: bool = False
    host_bytes: int = 0
    requirements_met: bool = True
    rejection: Rejection | None = None
    problems: tuple[Problem, ...] = ()
    not_covered: tuple[NotCovered, ...] = ()
    """What a checked command asks for that the ledger does not hold."""
    warnings: tuple[Warn, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    speed: SpeedEstimate | NoSpeed = NOT_ASKED
    own: object = field(default=None, repr=False, compare=False)

    @property
    def starts(self) -> bool:
        """Whether it is to be run: it starts, surely or with the expected figures."""
        return not self.verdict.falls_short

    @property
    def cache_type(self) -> str:
        """The type of its KV cache, as its engine names it."""
        held = dict(self.settings)
        bits = held.get("kv_bits")
        return str(held.get("kv_cache_dtype") or held.get("kv_cache_type") or (f"{bits} bits" if bits else "auto"))

    @property
    def is_whole(self) -> bool:
        """Whether all layers are on the GPU, where the engine may leave some out."""
        return self.layers_on_gpu >= self.layers

    @property
    def is_all_on_gpus(self) -> bool:
        """Whether a token reads no weights of main memory but rows of the embeddings."""
        return self.is_whole and not self.layers_divided

    @property
    def shown_settings(self) -> tuple[tuple[str, str, str], ...]:
        """Each setting with its value and reason; of a server that does not start only how it is divided, and what the user fixed."""
        values = dict(self.settings)
        rows = [(name, str(values.get(name, "")), reason) for name, reason in self.reasons]
        return tuple(row for row in rows if self.starts or row[0] in self.told or row[2] in ("pinned", "as asked"))


def longest_context(limit: int, fits: Callable[[int], bool]) -> int:
    """The longest context that fits: the model's own limit, or else a whole number of steps; 0 where not one step fits."""
    return limit if fits(limit) else CONTEXT_STEP * largest(limit // CONTEXT_STEP, lambda steps: fits(steps * CONTEXT_STEP))
