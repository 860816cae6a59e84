"""A recorded load, replayed on every way to divide a machine's GPUs into servers: what its requests would have waited.

Requests go to the servers in turn. Prompts are computed as they come, each in full: what an engine finds in its prefix cache is not taken off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.engines.vllm.ledger import MemoryBreakdown
from planner.engines.vllm.pace import basis_of
from planner.engines.vllm.plan import Plan
from planner.facts.question import StackRow
from planner.facts.record import dataclass
from planner.facts.verdict import Grade
from planner.questions.capacity import Lengths, Limits, server_of
from planner.questions.plan import request_of
from planner.questions.replicas import AskAgain, again, context_of, each_way, sizes
from planner.questions.trace import Trace
from planner.questions.vllm_capacity import known_paces
from planner.speed.constants import rates
from planner.speed.estimate import Pace
from planner.speed.queueing import Requests, percentile, serve
from planner.speed.roofline import prompt_s

SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """What the requests of a trace waited at one outlook, in seconds: by share of the requests, in the order of SHARES."""

    ttft_s: tuple[float, ...]
    tpot_s: tuple[float, ...]
    asked_ttft_s: float
    """What the asked share of first tokens does not exceed."""
    mean_tpot_s: float
    within: float
    """Share of the requests that keep both limits."""
    in_flight: float
    """Requests in a server on average."""

    def keeps(self, limits: Limits) -> bool:
        """Whether both limits are kept: of first tokens for the asked share, of further ones on average."""
        return self.asked_ttft_s <= limits.first_token_s and self.mean_tpot_s <= limits.per_token_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A trace on `replicas` servers of one plan, at three outlooks."""

    plan: Plan
    replicas: int
    grade: Grade
    because: str
    conservative: Waited
    expected: Waited
    optimistic: Waited

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.replicas * self.plan.request.group.count


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayAnswer:
    """Ways to use the GPUs, the best first, and whether that one keeps the limits with conservative figures."""

    options: tuple[Replay, ...]
    trace: Trace
    limits: Limits
    requirements_met: bool


def replay_for(row: StackRow, trace: Trace, limits: Limits, *, ask_again: AskAgain | None = None) -> ReplayAnswer:
    """Every way to divide the GPUs of a question, with what a trace's requests would wait there.

    Raises PlannerError where the model does not answer token by token, a request is too long, no server starts, or its speed is not known.
    """
    request, source = request_of(row)
    request = replace(
        request,
        context=request.context
        or context_of(
            request,
            source,
            trace.longest,
            f"the longest request's {trace.longest:,} tokens",
            "leave the longer ones out of the trace, or --model of a longer context",
        ),
    )
    ways = each_way((request, source), sizes(request, row.count), lambda plan, replicas: replayed(plan, replicas, trace, limits), ask_again or again(row))
    options = sorted(ways, key=lambda way: (not way.conservative.keeps(limits), -way.expected.within, way.expected.asked_ttft_s))
    return ReplayAnswer(options=tuple(options), trace=trace, limits=limits, requirements_met=options[0].conservative.keeps(limits))


def replayed(plan: Plan, replicas: int, trace: Trace, limits: Limits) -> Replay:
    """A trace on replicas of a plan. Raises PlannerError where its speed is not known."""
    known = known_paces(plan)
    near = basis_of(plan, known[1].work)
    conservative, expected, optimistic = (
        _waited(plan, pace, ledger, replicas, trace, limits)
        for pace, ledger in zip(known, (plan.choice.conservative, plan.choice.expected, plan.choice.optimistic), strict=True)
    )
    return Replay(plan=plan, replicas=replicas, grade=near.grade, because=near.because, conservative=conservative, expected=expected, optimistic=optimistic)


def _waited(plan: Plan, pace: Pace, ledger: MemoryBreakdown, replicas: int, trace: Trace, limits: Limits) -> Waited:  # noqa: PLR0917 - one caller
    tokens = (sum(trace.prompts) + sum(trace.outputs)) / len(trace.outputs)
    room = int(ledger.admitted_at(max(1, round(tokens))) * tokens)
    server = replace(server_of(pace, mean_lengths(trace), plan.config.max_num_seqs, plan.config.max_num_batched_tokens), cache_tokens=room)
    rate = rates(pace.work)
    took = {prompt: pace.prompt_factor * prompt_s(pace.work, rate, float(prompt), pace.work.attention_flops(float(prompt))) for prompt in set(trace.prompts)}
    waits: list[float] = []
    rests: list[float] = []
    within, stays_s, last_s = 0, 0.0, 0.0
    for turn in range(min(replicas, len(trace.outputs))):
        asked = _turn(trace, turn, replicas, took)
        first, last = serve(server, asked)
        own = [seen - came + rate.first_token_s for seen, came in zip(first, asked.arrivals_s, strict=True)]
        each = [(end - start) / max(1, output - 1) for start, end, output in zip(first, last, asked.outputs, strict=True)]
        within += sum(wait <= limits.first_token_s and rest <= limits.per_token_s for wait, rest in zip(own, each, strict=True))
        stays_s, last_s = stays_s + sum(last) - sum(asked.arrivals_s), max([last_s, *last])
        waits += own
        rests += [rest for rest, output in zip(each, asked.outputs, strict=True) if output > 1]
    waits.sort()
    rests = sorted(rests) or [0.0]
    return Waited(
        ttft_s=tuple(percentile(waits, share) for share in SHARES),
        tpot_s=tuple(percentile(rests, share) for share in SHARES),
        asked_ttft_s=percentile(waits, limits.share),
        mean_tpot_s=sum(rests) / len(rests),
        within=within / len(waits),
        in_flight=stays_s / last_s / replicas,
    )


def _turn(trace: Trace, turn: int, replicas: int, took: Mapping[int, float]) -> Requests:
    """Every so many-th request, with the seconds that its prompt takes."""
    prompts = trace.prompts[turn::replicas]
    return Requests(
        arrivals_s=list(trace.arrivals_s[turn::replicas]),
        prompts=list(prompts),
        prompts_s=[took[prompt] for prompt in prompts],
        outputs=list(trace.outputs[turn::replicas]),
    )


def mean_lengths(trace: Trace) -> Lengths:
    """Lengths whose cache is read as that of the trace: the mean over all tokens that are decoded of what stands before them."""
    answered = sum(trace.outputs)
    before = sum(output * (prompt + output / 2) for prompt, output in zip(trace.prompts, trace.outputs, strict=True)) / answered
    answer = max(1, round(answered / len(trace.outputs)))
    return Lengths(prompt=max(1, round(before - answer / 2)), answer=answer)
