"""What is said of a plan, in words: the terminal and the page print the same."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor, log10

from planner.facts.plan import Line, Plan, Sum
from planner.facts.speed import NoSpeed, Range, SpeedEstimate, significant
from planner.units import tokens

LIFE_YEARS = 3.0  # of a bought machine, where nobody says
TOLD = 3  # rows of a choice whose reason is told


def ledger_rows(plan: Plan) -> Iterator[Line | Sum]:
    """The rows of a ledger: its terms, then what they come to. No row is negative; a cache for which nothing is left has none."""
    yield from (line for line in plan.lines if line.bytes >= 0 and (line.bytes or line.key != "kv_cache"))
    yield from plan.sums


def number(value: float) -> str:
    """A figure of two digits."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def at_once(count: float) -> str:
    """Requests at once: whole ones without a decimal."""
    return f"{count:,.0f}" if count >= 100 or count == int(count) else f"{count:.1f}"


def figure(value: float) -> str:
    """A figure of two significant digits, thousands divided, never as a power of ten."""
    rounded = significant(value)
    decimals = max(0, 1 - floor(log10(abs(rounded)))) if rounded else 0
    text = f"{rounded:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def usd(amount: float) -> str:
    """Money of two significant digits, and cents."""
    text = figure(amount)
    return f"{text}0" if len(text.partition(".")[2]) == 1 else text


def months(value: float, years: float = LIFE_YEARS) -> str:
    """When a purchase has saved its price, where it does so before the machine is worn out."""
    return f"{figure(value)} month{'' if significant(value) == 1 else 's'}" if value <= years * 12 else f"not in {years:g} years"


def between(figure: Range) -> str:
    """A figure with its ends."""
    return f"{number(figure.expected)} ({number(min(figure.conservative, figure.optimistic))} to {number(max(figure.conservative, figure.optimistic))})"


def speed_lines(speed: SpeedEstimate | NoSpeed) -> Iterator[str]:
    """One line on speed and one on how sure it is, or one that says why there is none."""
    if isinstance(speed, NoSpeed):
        yield f"No speed: {speed.reason}."
        return
    text = f"Speed with {tokens(speed.prompt_tokens)} prompt and {tokens(speed.answer_tokens)} output tokens: one user {between(speed.tokens_per_s)} tokens/s, "
    first = speed.time_to_first_token_s
    text += "TTFT unknown" if first is None else f"TTFT {between(first)} s"
    if speed.users > 1 and speed.total_tokens_per_s is not None:
        text += f"; concurrency {speed.users}: {between(speed.total_tokens_per_s)} tokens/s together"
    yield text + "."
    yield f"{speed.grade}: {speed.because}; a step is bound by {speed.bound_by.words}"
