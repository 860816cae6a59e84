"""What every answer leads with, on whichever door it is read: the verdict in words, the figures a person asks for, what binds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from planner.facts.plan import Plan
from planner.facts.record import dataclass
from planner.facts.speed import NoSpeed, Range, SpeedEstimate
from planner.facts.verdict import Verdict
from planner.report.words import between, number
from planner.units import gib, tokens

if TYPE_CHECKING:
    from planner.questions.plan import Answer

Tone = Literal["good", "warn", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one server comes to: its verdict, and of what was asked the part that it holds; 0 asked is nothing asked."""

    verdict: Verdict
    name: str = ""
    users_asked: int = 0
    users: int = 0
    context_asked: int = 0
    context: int = 0
    layers: int = 0
    layers_on_gpu: int = 0

    @property
    def unmet(self) -> str:
        """What of the wish is not met, in words; empty where all is."""
        shortfalls = []
        if self.context < self.context_asked:
            shortfalls.append(f"holds {tokens(self.context)} of {tokens(self.context_asked)} tokens of context")
        if self.users < self.users_asked:
            shortfalls.append(f"holds {self.users:,} of {self.users_asked:,} users")
        if self.layers_on_gpu < self.layers:
            shortfalls.append(f"not whole on the GPU: {self.layers_on_gpu} of {self.layers} layers are there")
        return ", ".join(shortfalls)


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict in words, and how good it is: good only where it starts and all that was asked is met."""

    words: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Figure:
    """One large number, what it counts, and its interval or reason."""

    value: str
    label: str
    note: str = ""


def headline(outcomes: Sequence[Outcome], verdict: Verdict | None = None) -> Headline:
    """The words for servers that run together; `verdict` is that of all, else that of the only one."""
    verdict = verdict or outcomes[0].verdict
    words, several = verdict.words, len(outcomes) > 1
    if verdict.falls_short:
        failed = [server.name for server in outcomes if server.verdict is verdict and server.name]
        return Headline(words + (f": {', '.join(failed)}" if several and failed else ""), "bad")
    unmet = [(f"{server.name} " if several else "") + server.unmet for server in outcomes if server.unmet]
    if not unmet:
        return Headline(words, "good" if verdict is Verdict.STARTS else "warn")
    return Headline(f"{words}, {'but' if verdict is Verdict.STARTS else 'and'} {'; '.join(unmet)}", "warn")


def outcome(plan: Plan) -> Outcome:
    """What a server comes to."""
    whole = plan.is_whole or plan.is_pinned_partial
    return Outcome(
        verdict=plan.verdict,
        name=plan.service.name,
        users_asked=plan.users_asked,
        users=plan.users,
        context_asked=plan.context_asked,
        context=plan.context,
        layers=0 if whole else plan.layers,
        layers_on_gpu=plan.layers_on_gpu,
    )


def answer_headline(answer: Answer) -> Headline:
    """The headline of all servers together, in the order in which they start where several engines' words meet."""
    return headline([outcome(plan) for plan in answer.plans], answer.verdict)


def figures(plan: Plan) -> tuple[Figure, ...]:
    """Context, users at full length, tokens/s of one user; none where it does not start."""
    if not plan.starts:
        return ()
    if not plan.model.keeps_cache:
        return (Figure(tokens(plan.context), "tokens of text", "an encoder keeps no KV cache"),)
    return Figure(tokens(plan.context), "tokens of context", _context_note(plan)), _users(plan), *_speed(plan.speed)


def _context_note(plan: Plan) -> str:
    if held := plan.memory.get("kv_cache_tokens"):
        return f"KV cache of {tokens(int(held))} tokens"
    return f"up to {tokens(plan.longest_context)} would fit" if plan.longest_context > plan.context else ""


def _users(plan: Plan) -> Figure:
    concurrency = plan.concurrency
    note = "each with a context of its own"
    if concurrency is not None:
        note = f"concurrency {concurrency.expected:.2f}x ({concurrency.conservative:.2f} to {concurrency.optimistic:.2f})"
    if plan.sharing > 1:
        whole, part = plan.users // plan.sharing, tokens(plan.context // plan.sharing)
        return Figure(f"{whole:,}", "users at full length" if whole > 1 else "user at full length", f"{plan.users:,} at once share it: {part} each")
    return Figure(f"{plan.users:,}", "users at full length", note)


def _speed(speed: SpeedEstimate | NoSpeed) -> Iterator[Figure]:
    if isinstance(speed, SpeedEstimate):
        yield Figure(number(speed.tokens_per_s.expected), "tokens/s for one user", _ends(speed.tokens_per_s))
    else:
        yield Figure("-", "tokens/s for one user", "no estimate")


def _ends(figure: Range) -> str:
    return between(figure).partition(" ")[2].strip("()")


def refusals(plans: Sequence[Plan]) -> tuple[str, ...]:
    """Why each server that does not start does not, as a sentence; the name goes before it where there are several."""
    several = len(plans) > 1
    named = [(f"{plan.service.name} ({plan.model.id}): " if several else "", plan.rejection) for plan in plans]
    return tuple(f"{name}{rejection.reason}; short by {gib(rejection.short_by_bytes)}" for name, rejection in named if rejection)
