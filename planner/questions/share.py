"""A start as anybody may read it: columns of the truth table (tests/data/field_vllm.yaml), made of numbers and of words that ship with the program.

It is an allow-list: a text of the log gets into a column only where it is a word of a list here, of the catalogue or of an engine's table.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from dataclasses import asdict
from typing import Literal, TypeVar

from planner.catalogue.load import Catalogue, Entry
from planner.catalogue.names import gpu_key, model_key
from planner.engines import ENGINES
from planner.errors import PlannerError
from planner.facts.hardware import GpuSpec
from planner.facts.observed import Explained, Observed, Shareable
from planner.facts.record import dataclass
from planner.units import GIB

SOURCE = "plan explain --share"
REASONS = ("free-memory", "no-kv-memory", "kv-cache-too-small", "out-of-memory", "not-divisible", "unsupported", "unknown-flag", "bad-value")
"""Why a start failed that tells of its command and its GPU: not of a port, a key or a disk."""
_RELEASE = re.compile(r"v?(\d\.\d{1,2})(?:\.|\Z)")
_DIGITS = 8
_MOST = 1 << 50
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the log tells of each GPU, in GiB and tokens; None is what it does not tell. Of a failed start `longest` is the engine's own count."""

    kv_gib: float | None
    tokens: int | None
    concurrency: float | None
    weights_gib: float | None
    peak_activation_gib: float | None
    non_torch_gib: float | None
    cudagraph_gib: float | None
    needed_gib: float | None
    longest: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start; `flags_told` is whether the command holds all that moves memory."""

    id: str
    source: str
    gpu: str
    count: int
    host: Literal["server"]
    vllm_version: str
    command: str
    observed_verdict: Literal["starts", "fails"]
    observed_reason: str | None
    observed: Told
    total_gib: float | None
    free_gib: float | None
    flags_told: bool


def start_of(explained: Explained, gpu: GpuSpec | None, *, is_named: bool, model: str | None = None, count: int | None = None) -> Start:
    """What of an explained log may be shared; `is_named` is whether a person named the GPU, `model` and `count` are what they said of it.

    Raises PlannerError where a column cannot be told, and where the log holds what cannot be.
    """
    seen, part = explained.observed, explained.shareable
    if part is None:
        raise PlannerError(f"a start of {ENGINES[seen.engine].title if seen.engine in ENGINES else 'a proxy'} is not shared: the table is of {_collected()}")
    card = _gpu(seen, gpu, is_named=is_named)
    entry = _model(seen, model)
    verdict, reason = _verdict(seen)
    told = _told(seen, part, card)
    start = Start(
        id="",
        source=SOURCE,
        gpu=card.name,
        count=count or part.gpus,
        host="server",
        vllm_version=_version(seen),
        command=shlex.join([*explained.argv[:2], entry.variant.repo, *part.words]),
        observed_verdict=verdict,
        observed_reason=reason,
        observed=told,
        total_gib=_gib(seen.total_bytes, card),
        free_gib=_gib(seen.free_at_start_bytes, card),
        flags_told=part.is_whole,
    )
    return named(start, entry.name)


def named(start: Start, model: str) -> Start:
    """A start under a name of its own: its GPU, its model, and digits of all that it holds."""
    values = asdict(start) | {"id": ""}
    digits = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    return Start(**{**values, "observed": start.observed, "id": f"{start.gpu}-{model}-{digits}"})


def _collected() -> str:
    return next(iter(ENGINES.values())).title


def _gpu(seen: Observed, gpu: GpuSpec | None, *, is_named: bool) -> GpuSpec:
    """The card, under its name in the catalogue that ships."""
    if gpu is None or not (is_named or seen.gpu):
        raise PlannerError("the log does not name its GPU", "--gpu NAME, of `plan list gpus`")
    if Catalogue().gpu_row(gpu_key(gpu.name)) is None:
        raise PlannerError(f"{gpu.title} is a row of your own: what is shared is of a GPU that everybody has", "`plan list gpus`")
    return gpu


def _model(seen: Observed, named: str | None) -> Entry:
    """The model, under its public repository: any other name is nobody else's business."""
    names = (name for name in (seen.model, named) if name)
    entry = next((entry for name in names if (entry := Catalogue().entry(model_key(name)))), None)
    if entry is None:
        raise PlannerError("the log's model is not one of the catalogue under its public name", "--model NAME, of `plan list models`, says which one it is")
    return entry


def _version(seen: Observed) -> str:
    release = _RELEASE.match(seen.version or "")
    if release is None or release[1] not in ENGINES[seen.engine].versions:
        raise PlannerError(f"the log does not name a release of {ENGINES[seen.engine].title} whose rules are known", "share it from its first line on")
    return release[1]


def _verdict(seen: Observed) -> tuple[Literal["starts", "fails"], str | None]:
    if seen.started and seen.root_cause is None:
        return "starts", None
    if seen.root_cause is None or seen.started:
        raise PlannerError("the log ends before the start does", "share it whole")
    if seen.root_cause.code not in REASONS:
        raise PlannerError(f"this start failed for a reason that tells nothing of its memory ({seen.root_cause.code})")
    return "fails", seen.root_cause.code


def _told(seen: Observed, part: Shareable, card: GpuSpec) -> Told:
    return Told(
        kv_gib=_gib(seen.kv_cache_bytes, card),
        tokens=_bounded(seen.kv_cache_tokens),
        concurrency=_bounded(seen.max_concurrency),
        weights_gib=_gib(seen.weights_bytes, card),
        peak_activation_gib=_gib(seen.activation_bytes, card),
        non_torch_gib=_gib(seen.non_torch_bytes, card),
        cudagraph_gib=_gib(seen.cuda_graph_bytes, card),
        needed_gib=None if part.needed_bytes is None else round(part.needed_bytes / GIB, 2),
        longest=part.longest,
    )


def _gib(size: int | None, card: GpuSpec) -> float | None:
    """A size in GiB, two digits behind the point as logs have them. Raises PlannerError for one that the card cannot hold."""
    if size is None:
        return None
    if abs(size) > card.memory_bytes * 1.01:
        raise PlannerError(f"the log tells of {size / GIB:,.2f} GiB, more than {card.title} has", "--gpu names the card that wrote it")
    return round(size / GIB, 2)


def _bounded(number: _Number | None) -> _Number | None:
    return None if number is None or not 0 <= number <= _MOST else number
