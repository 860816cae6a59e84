"""What a server holds within limits, as JSON and for the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from typing_extensions import TypedDict

from planner.facts.speed import significant
from planner.facts.verdict import Grade
from planner.questions.capacity import Asked, Capacity, Held, Seen
from planner.questions.replicas import CapacityAnswer
from planner.report.contract_parts import AnswerJson, EndsJson
from planner.report.head import HEAD
from planner.report.table import Column, Fitted, Row
from planner.report.text import Piece, Text
from planner.report.words import figure
from planner.units import counted, tokens


class HeldJson(TypedDict):
    """All replicas together at one outlook; the times are those of a request alone."""

    users: int
    requests_per_s: float
    in_flight: float
    slots: int
    bound_by: str
    alone_first_token_s: float
    alone_per_token_s: float


class AtUsersJson(TypedDict):
    """What the users that were asked for see of all replicas together, whatever the limits; `waiting` of them at a time wait for a slot."""

    users: int
    waiting: int
    ttft_s: EndsJson
    tpot_s: EndsJson
    output_tokens_per_s: EndsJson
    bound_by: str


class OptionJson(TypedDict):
    """One way to use the GPUs: servers of `tensor_parallel_size` x `pipeline_parallel_size` GPUs, `replicas` of them."""

    gpus: int
    replicas: int
    tensor_parallel_size: int
    pipeline_parallel_size: int
    max_model_len: int
    max_num_seqs: int
    grade: Grade
    conservative: HeldJson
    expected: HeldJson
    optimistic: HeldJson
    cautious: HeldJson
    """As `conservative`, which replaces it; it goes with schema 3."""
    hopeful: HeldJson
    """As `optimistic`, which replaces it; it goes with schema 3."""
    at_users: AtUsersJson | None
    argv: list[str]


class CapacityJson(AnswerJson):
    """The answer: options best first; what was asked for, and whether the first option holds it with conservative figures."""

    model: str
    gpu: str
    prompt_tokens: int
    output_tokens: int
    answer_tokens: int
    """As `output_tokens`, which replaces it; it goes with schema 3."""
    limits: dict[str, float]
    asked: dict[str, float | None]
    requirements_met: bool
    meets_wish: bool
    """As `requirements_met`, which replaces it; it goes with schema 3."""
    options: list[OptionJson]


def _held(option: Capacity, held: Held) -> HeldJson:
    return {
        "users": option.users(held),
        "requests_per_s": significant(option.requests_per_s(held)),
        "in_flight": significant(option.replicas * held.in_flight),
        "slots": option.replicas * held.slots,
        "bound_by": held.bound_by,
        "alone_first_token_s": significant(held.alone_first_token_s),
        "alone_per_token_s": significant(held.alone_per_token_s),
    }


def _ends(values: Iterable[float]) -> EndsJson:
    """Of a value at the conservative, the expected and the optimistic outlook."""
    conservative, expected, optimistic = map(significant, values)
    return {"low": min(conservative, optimistic), "expected": expected, "high": max(conservative, optimistic)}


def _at_users(seen: tuple[Seen, Seen, Seen] | None) -> AtUsersJson | None:
    if seen is None:
        return None
    return {
        "users": seen[1].users,
        "waiting": seen[1].waiting,
        "ttft_s": _ends(outlook.first_token_s for outlook in seen),
        "tpot_s": _ends(outlook.per_token_s for outlook in seen),
        "output_tokens_per_s": _ends(outlook.tokens_per_s for outlook in seen),
        "bound_by": seen[1].bound_by,
    }


def _option(option: Capacity) -> OptionJson:
    server = option.server
    conservative, optimistic = _held(option, option.conservative), _held(option, option.optimistic)
    return {
        "gpus": option.gpus,
        "replicas": option.replicas,
        "tensor_parallel_size": server.tensor_parallel_size,
        "pipeline_parallel_size": server.pipeline_parallel_size,
        "max_model_len": server.max_model_len,
        "max_num_seqs": server.max_num_seqs,
        "grade": option.grade,
        "conservative": conservative,
        "expected": _held(option, option.expected),
        "optimistic": optimistic,
        "cautious": conservative,
        "hopeful": optimistic,
        "at_users": _at_users(option.seen),
        "argv": list(server.argv),
    }


def capacity_json(answer: CapacityAnswer) -> CapacityJson:
    """The JSON object of `plan capacity`."""
    server = answer.options[0].server
    return {
        **HEAD,
        "model": server.model,
        "gpu": server.group.gpu.name,
        "prompt_tokens": answer.lengths.prompt,
        "output_tokens": answer.lengths.answer,
        "answer_tokens": answer.lengths.answer,
        "limits": asdict(answer.limits),
        "asked": asdict(answer.asked),
        "requirements_met": answer.requirements_met,
        "meets_wish": answer.requirements_met,
        "options": [_option(option) for option in answer.options],
    }


def seconds(value: float) -> str:
    """A time with two digits."""
    return f"{figure(value)} s" if value >= 1 else f"{figure(value * 1000)} ms"


def render(answer: CapacityAnswer) -> list[Piece]:
    """The report: what the best way holds at three outlooks, the other ways, whether it is enough."""
    first, lengths, limits = answer.options[0], answer.lengths, answer.limits
    server = first.server
    pieces: list[Piece] = [
        Text().append(server.model, "bold").append(f" on {server.group.gpu.title} with {server.engine} {server.version}"),
        Text(f"Prompts of {tokens(lengths.prompt)} and answers of {counted(lengths.answer, 'token')}; the first token within {seconds(limits.first_token_s)}"),
        Text(
            f"(the mean of users who ask together, {100 * limits.share:g} % of those arriving at random), a further one within {seconds(limits.per_token_s)} on average."
        ),
        Text(),
        _ways(answer.options),
        Text(),
        *_outlooks(first),
        *_of_users(first),
        Text(f"{first.grade}: {first.because}.", "dim"),
        Text(),
        *_verdict(first, answer.asked, requirements_met=answer.requirements_met),
        Text(shlex.join(server.argv), "bold", is_whole=True),
    ]
    return pieces


_WAYS = (Column("GPUs"), Column("servers"), Column("tp", 1), Column("users", 0), Column("requests/s", 1), Column("binds", 2, is_left=True))


def _ways(options: Sequence[Capacity]) -> Fitted:
    rows = []
    for option in options:
        held, tp = option.expected, str(option.server.tensor_parallel_size)
        users = f"{option.users(held)} ({option.users(option.conservative)} to {option.users(option.optimistic)})"
        rate = f"{figure(option.requests_per_s(held))} ({figure(option.requests_per_s(option.conservative))} to {figure(option.requests_per_s(option.optimistic))})"
        rows.append(Row((str(option.gpus), str(option.replicas), tp, users, rate, held.bound_by)))
    return Fitted(_WAYS, rows)


def _outlooks(option: Capacity) -> Iterator[Text]:
    held = option.expected
    alone = f"{seconds(held.alone_first_token_s)} ({seconds(option.optimistic.alone_first_token_s)} to {seconds(option.conservative.alone_first_token_s)})"
    yield Text(f"A request alone sees its first token after {alone}, a further one each {seconds(held.alone_per_token_s)}.")
    if held.requests_per_s:
        yield Text(f"At that rate {figure(held.in_flight)} requests are in each server on average; {_slots(option)}.")
    else:
        yield Text(f"At full length {_slots(option)}.")


def _slots(option: Capacity) -> str:
    """How many requests run at once, as `plan cost` says full: those that surely do first."""
    surely, expected, most = (held.slots for held in (option.conservative, option.expected, option.optimistic))
    several = "" if surely == most else f" ({expected} are expected to, {most} at best)"
    return f"{surely} surely run at once{several}"


def _of_users(option: Capacity) -> Iterator[Text]:
    """What the users that were asked for see, and what takes the time."""
    if option.seen is None:
        return
    slow, seen, fast = option.seen
    first = f"{seconds(seen.first_token_s)} ({seconds(fast.first_token_s)} to {seconds(slow.first_token_s)})"
    further = f"{seconds(seen.per_token_s)} ({seconds(fast.per_token_s)} to {seconds(slow.per_token_s)})"
    together = f"{figure(seen.tokens_per_s)} tokens/s together"
    wait = f"; {seen.waiting} of them at a time wait for a slot" if seen.waiting else ""
    yield Text(f"{counted(seen.users, 'user')} at once: TTFT {first}, TPOT {further}, {together}; bound by {seen.bound_by}{wait}.", "bold")


def _verdict(first: Capacity, asked: Asked, *, requirements_met: bool) -> Iterator[Text]:
    if not first.expected.users:
        held = first.expected
        nearest = (
            f"--ttft {seconds(held.alone_first_token_s)} --tpot {seconds(held.alone_per_token_s)}".replace(" ms", "ms").replace(" s", "s").replace(",", "")
        )
        yield Text(f"Nothing keeps these limits; the nearest, a request alone on {first.gpus} GPUs, would take {nearest}.", "bold red")
    if asked.nothing:
        return
    wish = counted(asked.users, "user") if asked.users else f"{asked.requests_per_s:,g} requests a second"
    if requirements_met:
        yield Text(f"{wish}: held, with conservative figures, by {first.replicas} server{'s' * (first.replicas > 1)} on {first.gpus} GPUs.", "bold green")
    else:
        yield Text(f"{wish}: not held with conservative figures.", "bold red")
