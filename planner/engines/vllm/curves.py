"""What a plan's pictures show: requests at once over the context, tokens a second over the users, each with its interval. Numbers only."""

from __future__ import annotations

from planner.engines.vllm.pace import estimate, paces, slots
from planner.engines.vllm.plan import Plan
from planner.facts.curve import Curve
from planner.facts.speed import NoSpeed

SHORTEST = 1024
MOST_USERS = 256


def doublings(first: int, last: int) -> list[int]:
    """first, 2 first, 4 first, … and last."""
    counts = []
    while first < last:
        counts.append(first)
        first *= 2
    return [*counts, last]


def concurrency_curve(plan: Plan) -> Curve | None:
    """Requests of each length that the planned KV cache holds at once; None for an encoder."""
    if plan.model.is_encoder:
        return None
    choice = plan.choice
    longest = plan.model.max_position_embeddings
    points = []
    for length in doublings(min(SHORTEST, longest), longest):
        low, middle, high = (ledger.concurrency_at(length) for ledger in (choice.conservative, choice.expected, choice.optimistic))
        points.append((length, low, middle, high))
    return Curve("concurrency", "Concurrency by length of a request", "tokens of a request", "concurrency", tuple(points))


def speed_curves(plan: Plan) -> tuple[Curve, Curve] | None:
    """Tokens a second of each user and of all together, over the users that the cache surely holds; None where prompts cannot be told."""
    known, shown = paces(plan), estimate(plan)
    if isinstance(known, NoSpeed) or isinstance(shown, NoSpeed):
        return None
    prompt, answer = shown.prompt_tokens, shown.answer_tokens
    most = max(1, min(MOST_USERS, slots(plan, plan.choice.conservative, prompt + answer)))
    each, together = [], []
    for users in doublings(1, most):
        low, middle, high = (pace.seen(users, prompt, answer) for pace in known)
        each.append((users, 1 / low.per_token_s, 1 / middle.per_token_s, 1 / high.per_token_s))
        together.append((users, low.total_tokens_per_s, middle.total_tokens_per_s, high.total_tokens_per_s))
    load_words = f"prompts of {shown.prompt_tokens:,} and answers of {shown.answer_tokens:,} tokens"
    return (
        Curve("speed-each", f"Tokens a second for each user, {load_words}", "concurrency", "tokens/s a user", tuple(each)),
        Curve("speed-all", f"Tokens a second of all users, {load_words}", "concurrency", "tokens/s together", tuple(together)),
    )


def curves(plan: Plan) -> tuple[Curve, ...]:
    """All pictures of a plan that starts."""
    held = concurrency_curve(plan) if not plan.verdict.falls_short else None
    return (*((held,) if held else ()), *(speed_curves(plan) or ()))
