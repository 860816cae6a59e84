"""How much load GPUs hold: users at once, requests at random, a recorded load, sessions of agents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from planner.facts.record import dataclass
from planner.questions import replay as questions_replay
from planner.questions import replicas
from planner.questions import sessions as questions_sessions
from planner.questions.asked import (
    CapacityPins,
    File,
    Host,
    naming,
    public,
    release,
    row_of,
    seconds,
    whole,
    within,
)  # fmt: skip
from planner.questions.capacity import Lengths, Limits
from planner.questions.trace import MOST_TOKENS, read_trace

if TYPE_CHECKING:
    from planner.report.capacity import CapacityJson
    from planner.report.replay import ReplayJson
    from planner.report.sessions import SessionsJson


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityAnswer(replicas.CapacityAnswer):
    """How many users and requests a second GPUs hold within limits: `options`, best first, and `requirements_met`."""

    def to_dict(self) -> CapacityJson:
        """What `plan capacity --json` prints."""
        from planner.report.capacity import capacity_json

        return capacity_json(self)


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
    power_limit_w: float | None = None,
    gpus: File | None = None,
    models: File | None = None,
    **pins: Unpack[CapacityPins],
) -> CapacityAnswer:
    """How many users at once and requests a second stay within a time to first token (`ttft`) and per further one (`tpot`): seconds, or "50ms".

    With `users` (at once) or `rate` (requests a second) and no `count`: how many GPUs it needs. `percentile` is the share of first tokens that
    `ttft` holds for. Raises PlannerError where the speed is not known.
    """
    with naming(gpu, count, gpus, models) as counted:
        machine = {
            "gpu": gpu,
            "count": counted,
            "host": host,
            "engine": engine,
            "vllm_version": release(vllm_version),
            "link_gb_per_s": link_gb_per_s,
            "power_limit_w": power_limit_w,
        }
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
    power_limit_w: float | None = None,
    gpus: File | None = None,
    models: File | None = None,
    **pins: Unpack[CapacityPins],
) -> ReplayAnswer:
    """What the requests of a recorded load (a file of Mooncake's, BurstGPT's, Azure's or `vllm bench`'s) would wait; limits as of `capacity`.

    Raises PlannerError for a file that holds no load, a request that is too long, and where no server starts or its speed is not known.
    """
    with naming(gpu, count, gpus, models) as counted:
        machine = {
            "gpu": gpu,
            "count": counted,
            "host": host,
            "vllm_version": release(vllm_version),
            "link_gb_per_s": link_gb_per_s,
            "power_limit_w": power_limit_w,
        }
        row = row_of("replay()", machine, {"model": str(model), "context": context, **pins})
        limits = Limits(first_token_s=seconds("ttft", ttft), per_token_s=seconds("tpot", tpot), share=within("percentile", percentile, 50, 99.9) / 100)
        return public(ReplayAnswer, questions_replay.replay_for(row, read_trace(Path(trace)), limits))


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsAnswer(questions_sessions.SessionsAnswer):
    """How many sessions of agents each way to divide the GPUs keeps warm: `options`, the best first, and `requirements_met`."""

    def to_dict(self) -> SessionsJson:
        """What `plan capacity --turns --json` prints."""
        from planner.report.sessions import sessions_json

        return sessions_json(self)


def sessions(
    *,
    turns: int,
    model: File,
    gpu: str,
    count: int | None = None,
    context: int | str | None = None,
    users: int | None = None,
    input: int = 2000,  # noqa: A002 - as the option is called
    output_tokens: int = 500,
    tool_tokens: int = 500,
    pause: float | str = 5.0,
    subagents: int = 0,
    kv_offloading_size: float = 0.0,
    ttft: float | str = 2.0,
    tpot: float | str = 0.05,
    percentile: float = 95.0,
    host: Host = "server",
    vllm_version: str | None = None,
    link_gb_per_s: float | None = None,
    power_limit_w: float | None = None,
    gpus: File | None = None,
    models: File | None = None,
    **pins: Unpack[CapacityPins],
) -> SessionsAnswer:
    """How many sessions of agents stay warm in the KV cache, and how many keep the limits; `users` are sessions at once, `pause` what a tool takes.

    `kv_offloading_size` is main memory in GiB that keeps what leaves the cache of a server. Raises PlannerError where the sessions are too long, no server
    starts or its speed is not known.
    """
    with naming(gpu, count, gpus, models) as counted:
        machine = {
            "gpu": gpu,
            "count": counted,
            "host": host,
            "vllm_version": release(vllm_version),
            "link_gb_per_s": link_gb_per_s,
            "power_limit_w": power_limit_w,
        }
        row = row_of("sessions()", machine, {"model": str(model), "context": context, "users": users, **pins})
        limits = Limits(first_token_s=seconds("ttft", ttft), per_token_s=seconds("tpot", tpot), share=within("percentile", percentile, 50, 99.9) / 100)
        session = questions_sessions.Session(
            prompt=whole("input", input),
            answer=whole("output_tokens", output_tokens),
            tool=int(within("tool_tokens", tool_tokens, 1, MOST_TOKENS)),
            turns=int(within("turns", turns, 1, questions_sessions.MOST_TURNS)),
            pause_s=seconds("pause", pause),
            subagents=int(within("subagents", subagents, 0, questions_sessions.MOST_SUBAGENTS)),
            offload_gib=within("kv_offloading_size", kv_offloading_size, 0, questions_sessions.MOST_OFFLOAD_GIB),
        )
        return public(SessionsAnswer, questions_sessions.sessions_for(row, session, limits))
