"""What is left open: which models a machine should run, which machines serve a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack, overload

from planner.facts.record import dataclass
from planner.questions import shortlist
from planner.questions.asked import (
    File,
    Host,
    OwnRows,
    Purpose,
    group_of,
    naming,
    public,
    purpose_of,
    refuse_both,
    release,
    row_of,
    within,
)  # fmt: skip
from planner.questions.choose import Wish

if TYPE_CHECKING:
    from planner.report.chosen import ModelsJson
    from planner.report.machines import MachinesJson


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsAnswer(shortlist.ModelsAnswer):
    """The models for a machine: `models`, best first."""

    def to_dict(self) -> ModelsJson:
        """What `plan --gpu NAME --json` prints."""
        from planner.report.chosen import models_json

        return models_json(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinesAnswer(shortlist.MachinesAnswer):
    """The machines for a model: `machines`, cheapest first; money in US dollars."""

    def to_dict(self) -> MachinesJson:
        """What `plan --model NAME --json` prints."""
        from planner.report.machines import machines_json

        return machines_json(self)


@overload
def choose(
    *,
    gpu: str,
    count: int | None = None,
    purpose: Purpose = "chat",
    context: int | str | None = None,
    users: int | None = None,
    min_speed: float | None = None,
    top: int | None = 10,
    host: Host = "server",
    engine: str | None = None,
    ram: int | str | None = None,
    vllm_version: str | None = None,
    **own: Unpack[OwnRows],
) -> ModelsAnswer: ...


@overload
def choose(
    *,
    model: str,
    quantization: str | None = None,
    context: int | str | None = None,
    users: int | None = None,
    min_speed: float | None = None,
    top: int | None = 10,
    prices: File | None = None,
    **own: Unpack[OwnRows],
) -> MachinesAnswer: ...


def choose(
    *,
    gpu: str | None = None,
    model: str | None = None,
    count: int | None = None,
    purpose: str = "chat",
    quantization: str | None = None,
    context: int | str | None = None,
    users: int | None = None,
    min_speed: float | None = None,
    top: int | None = 10,
    prices: File | None = None,
    host: Host = "server",
    engine: str | None = None,
    ram: int | str | None = None,
    vllm_version: str | None = None,
    **own: Unpack[OwnRows],
) -> ModelsAnswer | MachinesAnswer:
    """The models for a machine (`gpu`), best first, by every engine that runs there or one (`engine`), or the machines for a model (`model`), cheapest first; at most `top`, or all with None.

    `min_speed`: tokens a second that each user sees at least; else reading speed, more for code and agents. Raises PlannerError where nothing serves what is asked.
    """
    refuse_both(gpu, model)
    with naming(gpu, count, own.get("gpus"), own.get("models")) as counted:
        machine = {"gpu": gpu or "any", "count": counted, "host": host, "engine": engine, "ram": ram}
        row = row_of("choose()", machine, {"model": model or "any", "context": context, "users": users, "quantization": quantization})
        asked, floor = row.services[0], None if min_speed is None else within("min_speed", min_speed, 0, 1e6)
        if model is not None:
            file = Path(prices) if prices else None
            machines = shortlist.machines_for(
                model, file, quantization=asked.quantization, context=asked.context_tokens, users=asked.users, min_tokens_per_s=floor, top=top or None
            )  # fmt: skip
            return public(MachinesAnswer, machines)
        wish = Wish(purpose=purpose_of(purpose), context=asked.context_tokens, users=asked.users, min_tokens_per_s=floor)
        return public(ModelsAnswer, shortlist.models_for(group_of(row), wish, engine=row.engine, version=release(vllm_version), top=top or None))
