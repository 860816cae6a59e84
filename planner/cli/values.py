"""What the options of a command hold, as types: a command's keyword arguments become one of these at its door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from planner.engines.vllm.versions import DEFAULT_VERSION
from planner.facts.question import HostName, ServiceRow
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionValues:
    """The options of the question (`options.question`); one that a command lacks is as where nobody says it.

    `service` holds the wishes and pins of the main server; its model is empty where none is named, which `model` tells from one that is typed empty.
    """

    service: ServiceRow
    gpu: str | None = None
    model: str | None = None
    count: int = 1
    host_kind: HostName = "server"
    link_gb_per_s: float | None = None
    power_limit_w: float | None = None
    vllm_version: str = DEFAULT_VERSION
    style: str = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanValues(QuestionValues):
    """The options of the main command."""

    purpose: str | None
    min_speed: float | None
    top: int
    prices: Path | None
    beside: tuple[str, ...]
    nodes: int
    stack_file: Path | None
    engine: str | None
    ram: int | None
    vram: int | None
    bandwidth: float | None
    compute_capability: str | None
    vendor: str | None
    total_gib: float | None
    free_gib: float | None
    wired_limit_mb: int | None
    output: Path | None
    to: tuple[str, ...]
    html: Path | None
    svg: Path | None
    dry_run: bool
    force: bool
    bind: str
    port: int | None
    proxy_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyValues(QuestionValues):
    """The options of `plan verify`."""

    python: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchValues(QuestionValues):
    """The options of `plan bench`: tokens of a prompt and of an answer, numbers of users; None where the plan says it."""

    plan: Path | None
    engine: str | None
    url: str | None
    prompt: int | None
    answer: int | None
    points: tuple[int, ...]
    served_name: str | None
    export: Path | None
    save_calibration: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityValues(QuestionValues):
    """The options of `plan capacity`: tokens, seconds, requests a second, and a share in percent."""

    engine: str | None
    trace: Path | None
    prompt: int
    answer: int
    ttft: float
    tpot: float
    rate: float | None
    percentile: float
    turns: int | None
    pause: float
    tool_tokens: int
    subagents: int
    kv_offloading_size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CostValues(QuestionValues):
    """The options of `plan cost`: US dollars, watts, requests a second."""

    engine: str | None
    rate: float | None
    documents: int | None
    rent_usd_per_hour: float | None
    buy_usd: float | None
    years: float
    utilization: float
    usd_per_kwh: float | None
    watts: float | None
    idle_watts: float
    prices: Path | None
    api: str


Values = TypeVar("Values", bound=QuestionValues)


def values_of(kind: type[Values], options: Mapping[str, object]) -> Values:
    """The values of a command that `click` read: those that are named as fields of a server are the server's."""
    service: Callable[..., ServiceRow] = ServiceRow
    values: Callable[..., Values] = kind
    own = {field.name for field in fields(kind)}
    said = {field.name: options[field.name] for field in fields(ServiceRow) if field.name in options}
    return values(service=service(**said | {"model": options.get("model") or ""}), **{name: value for name, value in options.items() if name in own})
