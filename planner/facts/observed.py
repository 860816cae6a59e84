"""What a log says of a server: what it took, why it did not start, what that calls for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from planner.facts.hardware import GpuSpec
from planner.facts.plan import Plan
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a start failed; `code` is stable."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Remedy:
    """Something to do; `arguments` are flags to add to the command or to change in it, empty where it is no flag."""

    change: str
    arguments: str = ""


@dataclass(slots=True)
class Observed:
    """What a log says, in bytes; None is what it does not say. Of several workers the first, of several GPUs the fullest."""

    engine: str = ""
    """Whose log it is; empty where no line tells."""
    version: str | None = None
    model: str | None = None
    gpu: str | None = None
    flags: dict[str, object] = field(default_factory=dict)
    """Settings of the command, as the engine names them."""
    max_num_batched_tokens: int | None = None
    total_bytes: int | None = None
    free_at_start_bytes: int | None = None
    weights_bytes: int | None = None
    activation_bytes: int | None = None
    non_torch_bytes: int | None = None
    consumed_bytes: int | None = None
    estimated_graph_bytes: int | None = None
    cuda_graph_bytes: int | None = None
    compute_bytes: int | None = None
    kv_cache_bytes: int | None = None
    kv_cache_tokens: int | None = None
    max_concurrency: float | None = None
    host_bytes: int | None = None
    """What lies in main memory: weights, and cache of layers that are not on a GPU."""
    used_bytes: int | None = None
    """What the model takes in all, on GPUs and in main memory."""
    layers: int | None = None
    layers_on_gpu: int | None = None
    started: bool = False
    root_cause: Cause | None = None
    suits: Callable[[GpuSpec], bool] | None = field(default=None, repr=False, compare=False)
    """Whether a card would have made the engine choose what the log says: tells cards apart that have the same memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One component of the ledger, predicted and observed, in bytes (concurrency and tokens as they are)."""

    what: str
    predicted: float
    observed: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shareable:
    """What of a log anybody may read: the engine's own words and numbers, none of which a person made up."""

    words: tuple[str, ...]
    """Flags of its command, without the model."""
    is_whole: bool
    """Whether they are all that the command said of memory."""
    gpus: int
    """How many the command uses."""
    needed_bytes: int | None = None
    """The KV cache of one request, where the engine counted it."""
    longest: int | None = None
    """The longest context that fits, by the engine's own count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The answer about a log."""

    observed: Observed
    argv: tuple[str, ...] = ()
    """The command that wrote it, as far as it tells; empty where it does not tell the model."""
    predicted: Plan | None = None
    """None where the model or the GPU is not known."""
    differences: tuple[Difference, ...] = ()
    fixed_argv: tuple[str, ...] | None = None
    fixed_by_estimate: bool = False  # by the engine's own count of the longest context that fits
    remedies: tuple[Remedy, ...] = ()  # what the message itself calls for, whatever else is known
    shareable: Shareable | None = None
    """None where nobody collects starts of this engine."""
