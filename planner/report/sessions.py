"""Sessions that a machine keeps warm, as JSON and for the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict

from typing_extensions import TypedDict

from planner.facts.speed import significant
from planner.facts.verdict import Grade
from planner.questions.sessions import Kept, SessionsAnswer, Way
from planner.report.capacity import seconds
from planner.report.contract_parts import AnswerJson
from planner.report.head import HEAD
from planner.report.table import Column, Fitted, Row
from planner.report.text import Piece, Text
from planner.report.words import figure
from planner.units import gib, tokens


class SessionJson(TypedDict):
    """What each session does; bytes of main memory keep what leaves the KV cache of one server."""

    turns: int
    pause_s: float
    prompt_tokens: int
    output_tokens: int
    tool_tokens: int
    longest_tokens: int
    subagents: int
    kv_offloading_bytes: int


class TurnJson(TypedDict):
    """The mean turn with the sessions that were asked for."""

    sessions: int
    active: float
    warm_share: float
    ttft_s: float
    tpot_s: float


class KeptJson(TypedDict):
    """All replicas together at one outlook; the times are those of a lone session's mean turn."""

    warm: int
    warm_with_host: int
    sessions: int
    bound_by: str
    ttft_warm_s: float
    ttft_cold_s: float
    at_users: TurnJson | None


class WayJson(TypedDict):
    """One way to use the GPUs."""

    gpus: int
    replicas: int
    tensor_parallel_size: int
    pipeline_parallel_size: int
    max_model_len: int
    max_num_seqs: int
    grade: Grade
    conservative: KeptJson
    expected: KeptJson
    optimistic: KeptJson
    argv: list[str]


class SessionsJson(AnswerJson):
    """The answer to `plan capacity --turns`: options best first, and whether the first keeps what was asked with conservative figures."""

    model: str
    gpu: str
    session: SessionJson
    limits: dict[str, float]
    users: int | None
    requirements_met: bool
    options: list[WayJson]


def _kept(answer: SessionsAnswer, way: Way, kept: Kept) -> KeptJson:
    turn = kept.at_users
    return {
        "warm": way.replicas * kept.warm,
        "warm_with_host": way.replicas * kept.warm_with_host,
        "sessions": way.replicas * kept.sessions,
        "bound_by": kept.bound_by,
        "ttft_warm_s": significant(kept.first_token_warm_s),
        "ttft_cold_s": significant(kept.first_token_cold_s),
        "at_users": {
            "sessions": answer.users or 0,
            "active": significant(way.replicas * turn.active),
            "warm_share": round(turn.warm_share, 4),
            "ttft_s": significant(turn.first_token_s),
            "tpot_s": significant(turn.per_token_s),
        }
        if turn
        else None,
    }


def sessions_json(answer: SessionsAnswer) -> SessionsJson:
    """The JSON object of `plan capacity --turns`."""
    server, session = answer.options[0].server, answer.session
    return {
        **HEAD,
        "model": server.model,
        "gpu": server.group.gpu.name,
        "session": {
            "turns": session.turns,
            "pause_s": session.pause_s,
            "prompt_tokens": session.prompt,
            "output_tokens": session.answer,
            "tool_tokens": session.tool,
            "longest_tokens": session.longest,
            "subagents": session.subagents,
            "kv_offloading_bytes": session.offload_bytes,
        },
        "limits": asdict(answer.limits),
        "users": answer.users,
        "requirements_met": answer.requirements_met,
        "options": [
            {
                "gpus": way.gpus,
                "replicas": way.replicas,
                "tensor_parallel_size": way.server.tensor_parallel_size,
                "pipeline_parallel_size": way.server.pipeline_parallel_size,
                "max_model_len": way.server.max_model_len,
                "max_num_seqs": way.server.max_num_seqs,
                "grade": way.grade,
                "conservative": _kept(answer, way, way.conservative),
                "expected": _kept(answer, way, way.expected),
                "optimistic": _kept(answer, way, way.optimistic),
                "argv": list(way.server.argv),
            }
            for way in answer.options
        ],
    }


_WAYS = (
    Column("GPUs"),
    Column("servers"),
    Column("tp", 1),
    Column("warm sessions", 0),
    Column("within limits", 0),
    Column("TTFT warm", 1),
    Column("cold", 1),
    Column("binds", 2, is_left=True),
)


def render(answer: SessionsAnswer) -> list[Piece]:
    """The report: what a session does, how many each way keeps, what those that were asked for see."""
    first, session, limits = answer.options[0], answer.session, answer.limits
    server = first.server
    beside = f", each with {session.subagents} beside it" if session.subagents else ""
    grows = f"a context that grows from {tokens(session.prompt)} to {tokens(session.longest)} tokens"
    return [
        Text().append(server.model, "bold").append(f" on {server.group.gpu.title} with {server.engine} {server.version}"),
        Text(f"Sessions of {session.turns:,} turns{beside}, {grows}, {seconds(session.pause_s)} between an answer and the next turn."),
        Text(f"The first token of a turn within {seconds(limits.first_token_s)}, a further one within {seconds(limits.per_token_s)}, on average."),
        Text(),
        Fitted(_WAYS, [_row(way) for way in answer.options]),
        Text(),
        *_said(answer, first),
        Text(
            f"{first.grade}: {first.because}. Tokens come {'from a guess: PCIe of 12 to 50 GB/s' if session.offload_bytes else 'from the prefix cache'}.", "dim"
        ),
        Text(shlex.join(server.argv), "bold", is_whole=True),
    ]


def _row(way: Way) -> Row:
    slow, kept, fast = way.conservative, way.expected, way.optimistic
    warm = f"{way.replicas * kept.warm} ({way.replicas * slow.warm} to {way.replicas * fast.warm})"
    held = f"{way.replicas * kept.sessions} ({way.replicas * slow.sessions} to {way.replicas * fast.sessions})"
    times = (seconds(kept.first_token_warm_s), seconds(kept.first_token_cold_s))
    return Row((str(way.gpus), str(way.replicas), str(way.server.tensor_parallel_size), warm, held, *times, kept.bound_by))


def _said(answer: SessionsAnswer, first: Way) -> Iterator[Text]:
    kept, session = first.expected, answer.session
    times = kept.first_token_cold_s / max(kept.first_token_warm_s, 1e-9)
    yield Text(f"A turn that finds its history in the KV cache sees its first token {times:.2g} times as soon as one that is computed anew.")
    if session.offload_bytes:
        yield Text(f"With {gib(session.offload_bytes)} of main memory a server keeps {first.replicas * kept.warm_with_host} sessions.")
    turn, slow, fast = kept.at_users, first.conservative.at_users, first.optimistic.at_users
    if turn is None or slow is None or fast is None or not answer.users:
        return
    first_s = f"TTFT {seconds(turn.first_token_s)} ({seconds(fast.first_token_s)} to {seconds(slow.first_token_s)})"
    further = f"TPOT {seconds(turn.per_token_s)} ({seconds(fast.per_token_s)} to {seconds(slow.per_token_s)})"
    found = f"{100 * turn.warm_share:.3g} % of turns find their history"
    yield Text(f"{answer.users} sessions: {figure(first.replicas * turn.active)} answers at a time, {found}; {first_s}, {further}.", "bold")
    if answer.requirements_met:
        yield Text(f"{answer.users} sessions: held, with conservative figures.", "bold green")
    else:
        yield Text(f"{answer.users} sessions: not held with conservative figures.", "bold red")
