"""What every answer leads with, on whichever door it is read: the verdict in words, the figures a person asks for, what binds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from planner.engines.vllm.pace import estimate
from planner.engines.vllm.plan import Plan
from planner.facts.speed import NoSpeed, Range, SpeedEstimate
from planner.facts.verdict import Rejection, Verdict, worst
from planner.questions.placement import Placed, Stack
from planner.report.words import between, number
from planner.units import gib, tokens

if TYPE_CHECKING:
    from planner.facts.local_plan import LocalPlan

Tone = Literal["good", "warn", "bad"]
VERDICT_WORDS: dict[Verdict, str] = {"starts": "starts", "tight": "tight: may fail", "does_not_start": "does not start", "unknown": "cannot be said"}
_TONES: dict[Verdict, Tone] = {"starts": "good", "tight": "warn", "does_not_start": "bad", "unknown": "warn"}


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
        found = []
        if self.context < self.context_asked:
            found.append(f"holds {tokens(self.context)} of {tokens(self.context_asked)} tokens of context")
        if self.users < self.users_asked:
            found.append(f"holds {self.users:,} of {self.users_asked:,} users")
        if self.layers_on_gpu < self.layers:
            found.append(f"only {self.layers_on_gpu} of {self.layers} layers are on the GPU")
        return ", ".join(found)


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
    words = VERDICT_WORDS[verdict]
    several = len(outcomes) > 1
    if verdict == "does_not_start":
        failed = [one.name for one in outcomes if one.verdict == verdict and one.name]
        return Headline(words + (f": {', '.join(failed)}" if several and failed else ""), "bad")
    unmet = [(f"{one.name} " if several else "") + one.unmet for one in outcomes if one.unmet]
    if not unmet:
        return Headline(words, _TONES[verdict])
    return Headline(f"{words}, {'but' if verdict == 'starts' else 'and'} {'; '.join(unmet)}", "warn")


def _placed(server: Placed) -> Outcome:
    return outcome(server.plan, server.name)


def outcome(plan: Plan, name: str = "") -> Outcome:
    """What a vLLM server comes to."""
    users = int(plan.choice.expected.max_concurrency) if not plan.model.is_encoder else 0
    return Outcome(
        verdict=plan.verdict,
        name=name,
        users_asked=0 if plan.meets_wish else plan.request.users or 0,
        users=users,
        context_asked=plan.request.context or 0,
        context=plan.config.max_model_len,
    )


def stack_headline(stack: Stack) -> Headline:
    """The headline of placed vLLM servers."""
    return headline([_placed(server) for server in stack.servers], stack.verdict)


def local_outcome(plan: LocalPlan) -> Outcome:
    """What a server of another runtime comes to."""
    whole = plan.is_whole or plan.is_pinned_partial
    return Outcome(verdict=plan.verdict, name=plan.service.name, layers=0 if whole else plan.layers, layers_on_gpu=plan.layers_on_gpu)


def local_headline(plans: Sequence[LocalPlan], verdict: Verdict | None = None) -> Headline:
    """The headline of servers of another runtime; the main one is the last."""
    return headline([local_outcome(plan) for plan in reversed(plans)], verdict or worst([plan.verdict for plan in plans]))


def figures(plan: Plan) -> tuple[Figure, ...]:
    """Context, users at full length, tokens/s of one user of a vLLM plan; none where it does not start."""
    if plan.verdict == "does_not_start":
        return ()
    ledger, low, high = plan.choice.expected, plan.choice.conservative.max_concurrency, plan.choice.optimistic.max_concurrency
    if plan.model.is_encoder:
        return (Figure(tokens(plan.config.max_model_len), "tokens of text", "an encoder keeps no KV cache"),)
    users = Figure(f"{int(ledger.max_concurrency):,}", "users at full length", f"concurrency {ledger.max_concurrency:.2f}x ({low:.2f} to {high:.2f})")
    context = Figure(tokens(plan.config.max_model_len), "tokens of context", f"KV cache of {tokens(ledger.kv_cache_tokens)} tokens")
    return context, users, *_speed(estimate(plan))


def local_figures(plan: LocalPlan) -> tuple[Figure, ...]:
    """The same of a plan for another runtime."""
    if plan.verdict == "does_not_start":
        return ()
    longest = f"up to {tokens(plan.longest_context)} would fit" if plan.longest_context > plan.context else ""
    context = Figure(tokens(plan.context), "tokens of context", longest)
    return context, Figure(f"{plan.users:,}", "users at full length", "each with a context of its own"), *_speed(plan.speed)


def _speed(found: SpeedEstimate | NoSpeed) -> Iterator[Figure]:
    if isinstance(found, SpeedEstimate):
        yield Figure(number(found.tokens_per_s.expected), "tokens/s for one user", _ends(found.tokens_per_s))
    else:
        yield Figure("-", "tokens/s for one user", "no estimate")


def _ends(figure: Range) -> str:
    return between(figure).partition(" ")[2].strip("()")


def refusals(rejections: Sequence[tuple[str, Rejection | None]]) -> tuple[str, ...]:
    """Why each server that does not start does not, as a sentence; the name goes before it where there are several."""
    several = len(rejections) > 1
    return tuple((f"{name}: " if several else "") + f"{found.reason}; short by {gib(found.short_by_bytes)}" for name, found in rejections if found)


def stack_refusals(stack: Stack) -> tuple[str, ...]:
    """Why servers of a stack do not start."""
    return refusals([(f"{server.name} ({server.plan.repo})", server.plan.rejection) for server in stack.servers])


def binds(plan: Plan) -> str:
    """What keeps the server from more users, in one line; empty where nothing can be said."""
    ledger = plan.choice.expected
    if plan.verdict == "does_not_start" or plan.model.is_encoder or not ledger.kv_cache_needed_bytes:
        return ""
    held = int(ledger.max_concurrency)
    if held >= plan.config.max_num_seqs:
        return f"--max-num-seqs {plan.config.max_num_seqs} binds: further requests wait, though the KV cache holds {held:,}."
    missing = int((held + 1 - ledger.max_concurrency) * ledger.kv_cache_needed_bytes)
    return f"Memory binds: one more user at full length needs {gib(missing)} more KV cache on each GPU; {gib(ledger.kv_cache_bytes)} are left for it."


def local_binds(plan: LocalPlan) -> str:
    """What keeps a server of another runtime from more, in one line."""
    if plan.verdict == "does_not_start":
        return ""
    if plan.layers_on_gpu < plan.layers:
        return f"Memory binds: {plan.layers - plan.layers_on_gpu} of {plan.layers} layers run on the CPU, at its speed."
    if plan.context >= plan.max_position_embeddings:
        return f"The model binds: {tokens(plan.max_position_embeddings)} tokens are the longest context it has."
    spare = max(0, plan.available_bytes - plan.used_bytes)
    return f"Memory: {gib(spare)} of {gib(plan.available_bytes)} are left over." if plan.longest_context > plan.context else "Memory binds the context."
