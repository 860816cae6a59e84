"""A start that is shared, as JSON: the columns of the truth table."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal, cast

from typing_extensions import TypedDict

from planner.questions.share import Start
from planner.report.contract_parts import AnswerJson
from planner.report.head import HEAD


class ToldJson(TypedDict):
    """What the log tells of each GPU; null for what it does not tell. `longest` and `needed_gib` are the engine's own count where one request does not fit."""

    kv_gib: float | None
    tokens: int | None
    concurrency: float | None
    weights_gib: float | None
    peak_activation_gib: float | None
    non_torch_gib: float | None
    cudagraph_gib: float | None
    needed_gib: float | None
    longest: int | None


class StartJson(AnswerJson):
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
    observed: ToldJson
    total_gib: float | None
    free_gib: float | None
    flags_told: bool


for _part in (ToldJson, StartJson):
    setattr(_part, "__pydantic_config__", {"extra": "forbid"})  # noqa: B010 - a key more is a name more


def start_json(start: Start) -> StartJson:
    """The JSON object of a start."""
    return cast("StartJson", {**HEAD, **asdict(start)})
