"""How fast a plan is, as figures at three outlooks, or why that is not said."""

from __future__ import annotations

from math import ceil, floor, log10

from planner.facts.record import dataclass
from planner.facts.verdict import BoundBy, Grade, Verdict


@dataclass(frozen=True, slots=True)
class Range:
    """A figure at three outlooks, two significant digits each."""

    conservative: float
    expected: float
    optimistic: float


MOST_DRAFTED = 1000  # tokens of a step
PROMPT, OUTPUT = 2000, 500  # tokens: the load that is shown where none is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a speed is asked for: tokens of a prompt and of its output, requests at once, what is accepted of drafts; what is None is as usual."""

    input: int | None = None
    output_tokens: int | None = None
    concurrency: int | None = None
    acceptance_length: float | None = None
    """Tokens that a step gives on average where some are drafted, its own counted."""

    def lengths(self, context: int) -> tuple[int, int]:
        """Tokens of a prompt and of its output: those asked, the others as usual, as far as the context holds them."""
        output = self.output_tokens or max(1, min(OUTPUT, context // 5))
        return self.input or max(1, min(PROMPT, context - output)), output

    def beyond(self, context: int) -> str:
        """Why a context does not hold the request; empty where it does."""
        prompt, output = self.lengths(context)
        fits = prompt + output <= max(context, 2)
        return "" if fits else f"a prompt of {prompt:,} and an output of {output:,} tokens exceed the context of {context:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedEstimate:
    """What one user sees alone, and what `users` get together, each with a prompt and an answer of so many tokens.

    Where only the GPU's bandwidth is known, nothing is said of prompts: no time to first token, nor what several get together.
    """

    grade: Grade
    because: str
    prompt_tokens: int
    answer_tokens: int
    users: int
    tokens_per_s: Range
    total_tokens_per_s: Range | None
    time_to_first_token_s: Range | None
    tpot_s: Range
    """Seconds per output token behind the first, with so many users at once."""
    ttft_s: Range | None
    """Seconds to the first token, with so many users at once."""
    bound_by: BoundBy
    prompt_share: float | None = None
    """The part of the server's time that prompts take at this load; None where nothing is said of prompts. Of it tokens have their prices (docs/cost.md)."""
    reads_main_memory: bool = False
    """Whether each token reads main memory, how fast is a guess."""
    at_once: int
    """How many of `users` surely run together; the others wait for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What so many users at once saw of a running server (`plan bench`): the median first token, the mean further one, tokens of a request, tokens a second of all together."""

    users: int
    prompt_tokens: int
    answer_tokens: int
    first_token_s: float
    per_token_s: float
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class NoSpeed:
    """Why nothing is said of the speed of a plan, in words that follow a colon."""

    reason: str


def full_load(context: int, answer: int) -> Load:
    """A prompt and an answer that together fill a context."""
    return Load(input=max(1, context - answer), output_tokens=answer)


def slowest_s(speed: SpeedEstimate | NoSpeed, in_turn: int = 1) -> int:
    """Seconds until the last of those that an estimate is for is answered, at the cautious end, where `in_turn` such groups wait for each other; 0 where it is not known."""
    if isinstance(speed, NoSpeed) or speed.ttft_s is None:
        return 0
    return in_turn * ceil(speed.ttft_s.conservative + speed.answer_tokens * speed.tpot_s.conservative)


NOT_ASKED = NoSpeed("it was not asked")


def no_start(verdict: Verdict) -> NoSpeed:
    """Of a server that is not expected to start."""
    return NoSpeed(f"the server {verdict.words}" if verdict is Verdict.DOES_NOT_START else f"the server is {verdict.words}")


def expected_tokens_per_s(speed: SpeedEstimate | NoSpeed) -> float | None:
    """Tokens a second of one user alone, the cautious end where each rests on a guess of main memory; None where nothing is said."""
    if isinstance(speed, NoSpeed):
        return None
    return speed.tokens_per_s.conservative if speed.reads_main_memory else speed.tokens_per_s.expected


def seen_by_each(speed: SpeedEstimate | NoSpeed, users: int | None) -> float | None:
    """Tokens a second that each of so many users at once sees; None where nothing is said of so many."""
    if isinstance(speed, NoSpeed) or (users or 1) == 1:
        return expected_tokens_per_s(speed)
    return 1 / speed.tpot_s.expected if speed.users == users else None


def significant(value: float) -> float:
    """A number rounded to two significant digits."""
    return round(value, 1 - floor(log10(abs(value)))) if value else 0.0
