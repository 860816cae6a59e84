"""What others found to be accepted of drafted tokens (acceptance.json): means of a step by model, method and tokens drafted, with their sources."""

from __future__ import annotations

import json
from importlib.resources import files

from planner.facts.model import Drafter


def published(model: str, drafter: Drafter) -> str:
    """The published means of this model, method and number of tokens, in words; empty where there are none. What people ask decides, so they are a range."""
    rows = json.loads(files("planner.engines.vllm").joinpath("acceptance.json").read_text("utf-8"))
    asked = (model, drafter.method, drafter.num_speculative_tokens)
    lengths = next((row["lengths"] for row in rows if (row["model"], row["method"], row["tokens"]) == asked), ())
    if not lengths:
        return ""
    low, high = min(lengths), max(lengths)
    return f"published of {model}: {low:g}" + (f" to {high:g}, by what is asked" if high > low else "")
