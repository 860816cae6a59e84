"""What the requests of a trace would have waited, as JSON and for the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict

from typing_extensions import TypedDict

from planner.engines import first_engine
from planner.facts.speed import significant
from planner.facts.verdict import Grade
from planner.questions.replay import SHARES, Replay, ReplayAnswer, Waited
from planner.report.capacity import seconds
from planner.report.contract_parts import AnswerJson
from planner.report.head import HEAD
from planner.report.table import Column, Fitted, Row
from planner.report.text import Piece, Text
from planner.report.words import figure


class PercentilesJson(TypedDict):
    """Seconds that half, 95 % and 99 % of the requests do not exceed."""

    p50: float
    p95: float
    p99: float


class WaitedJson(TypedDict):
    """One outlook: seconds to the first token and per further one, the share of requests that keep both limits, requests in a server on average."""

    ttft_s: PercentilesJson
    tpot_s: PercentilesJson
    mean_tpot_s: float
    within_limits: float
    in_flight: float


class ReplayOptionJson(TypedDict):
    """One way to use the GPUs: servers of `tensor_parallel_size` x `pipeline_parallel_size` GPUs, `replicas` of them."""

    gpus: int
    replicas: int
    tensor_parallel_size: int
    pipeline_parallel_size: int
    max_model_len: int
    max_num_seqs: int
    grade: Grade
    conservative: WaitedJson
    expected: WaitedJson
    optimistic: WaitedJson
    argv: list[str]


class TraceJson(TypedDict):
    """The trace: requests, those left out as they have no output, seconds from the first to the last, tokens."""

    requests: int
    left_out: int
    seconds: float
    prompt_tokens: int
    output_tokens: int


class ReplayJson(AnswerJson):
    """The answer to `plan capacity --trace`: options best first, and whether the first keeps the limits with conservative figures."""

    model: str
    gpu: str
    trace: TraceJson
    limits: dict[str, float]
    requirements_met: bool
    options: list[ReplayOptionJson]


def _percentiles(values: tuple[float, ...]) -> PercentilesJson:
    p50, p95, p99 = map(significant, values)
    return {"p50": p50, "p95": p95, "p99": p99}


def _waited(waited: Waited) -> WaitedJson:
    return {
        "ttft_s": _percentiles(waited.ttft_s),
        "tpot_s": _percentiles(waited.tpot_s),
        "mean_tpot_s": significant(waited.mean_tpot_s),
        "within_limits": round(waited.within, 4),
        "in_flight": significant(waited.in_flight),
    }


def _option(option: Replay) -> ReplayOptionJson:
    config = option.plan.config
    return {
        "gpus": option.gpus,
        "replicas": option.replicas,
        "tensor_parallel_size": config.tensor_parallel_size,
        "pipeline_parallel_size": config.pipeline_parallel_size,
        "max_model_len": config.max_model_len,
        "max_num_seqs": config.max_num_seqs,
        "grade": option.grade,
        "conservative": _waited(option.conservative),
        "expected": _waited(option.expected),
        "optimistic": _waited(option.optimistic),
        "argv": list(option.plan.argv),
    }


def replay_json(answer: ReplayAnswer) -> ReplayJson:
    """The JSON object of `plan capacity --trace`."""
    plan, trace = answer.options[0].plan, answer.trace
    return {
        **HEAD,
        "model": plan.repo,
        "gpu": plan.request.group.gpu.name,
        "trace": {
            "requests": len(trace.outputs),
            "left_out": trace.left_out,
            "seconds": round(trace.seconds, 3),
            "prompt_tokens": sum(trace.prompts),
            "output_tokens": sum(trace.outputs),
        },
        "limits": asdict(answer.limits),
        "requirements_met": answer.requirements_met,
        "options": [_option(option) for option in answer.options],
    }


_WAYS = (
    Column("GPUs"),
    Column("servers"),
    Column("tp", 1),
    *(Column(f"{what} p{100 * share:g}", index) for what, index in (("TTFT", 0), ("TPOT", 2)) for share in SHARES),
    Column("within", 0),
)


def render(answer: ReplayAnswer) -> list[Piece]:
    """The report: the trace, what its requests would have waited on each way, whether the best keeps the limits."""
    first, trace, limits = answer.options[0], answer.trace, answer.limits
    plan, count = first.plan, len(trace.outputs)
    left_out = f"; {trace.left_out:,} without an output are left out" if trace.left_out else ""
    rate = f"{figure(count / trace.seconds)} a second" if trace.seconds else "all at once"
    held = answer.requirements_met
    return [
        Text().append(plan.repo, "bold").append(f" on {plan.request.group.gpu.title} with {first_engine().title} {plan.config.vllm_version}"),
        Text(
            f"{count:,} requests, {rate}, prompts of {round(sum(trace.prompts) / count):,} and outputs of {round(sum(trace.outputs) / count):,} tokens on average{left_out}."
        ),
        Text(),
        Fitted(_WAYS, [_row(option) for option in answer.options]),
        Text(),
        *_outlooks(first),
        Text("Prompts are computed in full: hits of the prefix cache are not taken off.", "dim"),
        Text(f"{first.grade}: {first.because}.", "dim"),
        Text(),
        Text(
            f"{100 * limits.share:g} % of first tokens within {seconds(limits.first_token_s)}, further ones within {seconds(limits.per_token_s)} on average: "
            f"{'kept' if held else 'not kept'} with conservative figures.",
            "bold green" if held else "bold red",
        ),
        Text(shlex.join(plan.argv), "bold", is_whole=True),
    ]


def _row(option: Replay) -> Row:
    waited = option.expected
    times = [seconds(value) for value in (*waited.ttft_s, *waited.tpot_s)]
    return Row((str(option.gpus), str(option.replicas), str(option.plan.config.tensor_parallel_size), *times, f"{100 * waited.within:.3g} %"))


def _outlooks(option: Replay) -> Iterator[Text]:
    low, high = option.optimistic, option.conservative
    yield Text(
        f"On the first: TTFT p95 {seconds(option.expected.ttft_s[1])} ({seconds(low.ttft_s[1])} to {seconds(high.ttft_s[1])}), "
        f"TPOT p95 {seconds(option.expected.tpot_s[1])} ({seconds(low.tpot_s[1])} to {seconds(high.tpot_s[1])}); "
        f"{figure(option.expected.in_flight)} requests are in each server on average."
    )
