"""What is left open: how much load GPUs hold, which models a machine should run, which machines serve a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack, overload

from planner.facts.record import dataclass
from planner.questions import replay as questions_replay
from planner.questions import replicas, shortlist
from planner.questions.asked import (
    CapacityPins,
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
    seconds,
    whole,
    within,
)  # fmt: skip
from planner.questions.capacity import Lengths, Limits
from planner.questions.choose import Wish
from planner.questions.trace import read_trace

if TYPE_CHECKING:
    from planner.report.capacity import CapacityJson
    from planner.report.chosen import MachinesJson, ModelsJson
    from planner.report.replay import ReplayJson


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityAnswer(replicas.CapacityAnswer):
    """How many users and requests a second GPUs hold within limits: `options`, best first, and `requirements_met`."""

    def to_dict(self) -> CapacityJson:
        """What `plan capacity --json` prints."""
        from planner.report.capacity import capacity_json

        return capacity_json(self)


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
        from planner.report.chosen import machines_json

        return machines_json(self)


def capacity(
    *,
    model: File,
    gpu: str,
    count: int | None = None,
    context: int | str | None = None,
    users: int | None = None,
    rate: float | None = None,
    input: int = 2000,  # noqa: A002 - as the option is called
    output_tokens: int = 500,
    ttft: float | str = 2.0,
    tpot: float | str = 0.05,
    percentile: float = 95.0,
    host: Host = "server",
    engine: str | None = None,
    vllm_version: str | None = None,
    link_gb_per_s: float | None = None,
    gpus: File | None = None,
    models: File | None = None,
    **pins: Unpack[CapacityPins],
) -> CapacityAnswer:
    """How many users at once and requests a second stay within a time to first token (`ttft`) and per further one (`tpot`): seconds, or "50ms".

    With `users` (at once) or `rate` (requests a second) and no `count`: how many GPUs it needs. `percentile` is the share of first tokens that
    `ttft` holds for. Raises PlannerError where the speed is not known.
    """
    with naming(gpu, count, gpus, models) as counted:
        machine = {"gpu": gpu, "count": counted, "host": host, "engine": engine, "vllm_version": release(vllm_version), "link_gb_per_s": link_gb_per_s}
        row = row_of("capacity()", machine, {"model": str(model), "context": context, "users": users, **pins})
        answer = replicas.capacity_for(
            row,
            Lengths(prompt=whole("input", input), answer=whole("output_tokens", output_tokens)),
            Limits(first_token_s=seconds("ttft", ttft), per_token_s=seconds("tpot", tpot), share=within("percentile", percentile, 50, 99.9) / 100),
            requests_per_s=None if rate is None else within("rate", rate, 1e-9, 1e6),
            counted=count is not None,
        )
        return public(CapacityAnswer, answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayAnswer(questions_replay.ReplayAnswer):
    """What the requests of a recorded load would wait on each way to divide the GPUs: `options`, the best first, and `requirements_met`."""

    def to_dict(self) -> ReplayJson:
        """What `plan capacity --trace --json` prints."""
        from planner.report.replay import replay_json

        return replay_json(self)


def replay(
    *,
    trace: File,
    model: File,
    gpu: str,
    count: int | None = None,
    context: int | str | None = None,
    ttft: float | str = 2.0,
    tpot: float | str = 0.05,
    percentile: float = 95.0,
    host: Host = "server",
    vllm_version: str | None = None,
    link_gb_per_s: float | None = None,
    gpus: File | None = None,
    models: File | None = None,
    **pins: Unpack[CapacityPins],
) -> ReplayAnswer:
    """What the requests of a recorded load (a file of Mooncake's, BurstGPT's, Azure's or `vllm bench`'s) would wait; limits as of `capacity`.

    Raises PlannerError for a file that holds no load, a request that is too long, and where no server starts or its speed is not known.
    """
    with naming(gpu, count, gpus, models) as counted:
        machine = {"gpu": gpu, "count": counted, "host": host, "vllm_version": release(vllm_version), "link_gb_per_s": link_gb_per_s}
        row = row_of("replay()", machine, {"model": str(model), "context": context, **pins})
        limits = Limits(first_token_s=seconds("ttft", ttft), per_token_s=seconds("tpot", tpot), share=within("percentile", percentile, 50, 99.9) / 100)
        return public(ReplayAnswer, questions_replay.replay_for(row, read_trace(Path(trace)), limits))


@overload
def choose(
    *,
    gpu: str,
    count: int | None = None,
    purpose: Purpose = "chat",
    context: int | str | None = None,
    users: int | None = None,
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
    top: int | None = 10,
    prices: File | None = None,
    host: Host = "server",
    engine: str | None = None,
    ram: int | str | None = None,
    vllm_version: str | None = None,
    **own: Unpack[OwnRows],
) -> ModelsAnswer | MachinesAnswer:
    """The models for a machine (`gpu`), best first, by every engine that runs there or one (`engine`), or the machines for a model (`model`), cheapest first; at most `top`, or all with None.

    Raises PlannerError where nothing serves what is asked.
    """
    refuse_both(gpu, model)
    with naming(gpu, count, own.get("gpus"), own.get("models")) as counted:
        machine = {"gpu": gpu or "any", "count": counted, "host": host, "engine": engine, "ram": ram}
        row = row_of("choose()", machine, {"model": model or "any", "context": context, "users": users, "quantization": quantization})
        asked = row.services[0]
        if model is not None:
            file = Path(prices) if prices else None
            machines = shortlist.machines_for(
                model, file, quantization=asked.quantization, context=asked.context_tokens, users=asked.users, top=top or None
            )  # fmt: skip
            return public(MachinesAnswer, machines)
        wish = Wish(purpose=purpose_of(purpose), context=asked.context_tokens, users=asked.users)
        return public(ModelsAnswer, shortlist.models_for(group_of(row), wish, engine=row.engine, version=release(vllm_version), top=top or None))
