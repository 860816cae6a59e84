"""How long the requests of a load test are: what several engines' own tools and the emitted client are told alike."""

from __future__ import annotations

from planner.facts.deployment import Service
from planner.facts.speed import OUTPUT, PROMPT

ROUNDS = 4  # requests of each user
MARGIN = 64  # tokens of the chat template around a prompt


def lengths(service: Service) -> tuple[int, int]:
    """Tokens of a prompt and of an answer that together fill the context."""
    context = service.planned_context
    output = 1 if service.task == "embedding" else max(1, min(1024, context // 8))
    return max(1, context - output - min(MARGIN, context // 8)), output


def usual_lengths(service: Service) -> tuple[int, int]:
    """Those that speeds are told for, as far as the context holds them."""
    prompt, output = lengths(service)
    return min(PROMPT, prompt), min(OUTPUT, output)
