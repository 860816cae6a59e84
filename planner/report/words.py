"""What is said of a vLLM plan, in words: the terminal and the page print the same."""

from __future__ import annotations

from collections.abc import Iterator

from planner.estimate import DOES_NOT_START, NoSpeed, Range, SpeedEstimate
from planner.plan import Plan
from planner.units import GIB, gib, tokens

LEFT = "left over"
VERDICT_WORDS = {"starts": "starts", "tight": "tight: may fail", "does_not_start": "does not start"}


def parts(plan: Plan) -> list[tuple[str, int]]:
    """The ledger's terms in vLLM's order; they sum to what is requested."""
    ledger = plan.choice.expected
    return [
        ("weights", ledger.weights_bytes),
        ("buffers", ledger.buffers_bytes),
        ("outside torch", ledger.non_torch_bytes),
        ("activation", ledger.activation_bytes),
        ("CUDA graphs", ledger.cuda_graph_bytes),
        (LEFT if plan.model.is_encoder else "KV cache", ledger.kv_cache_bytes),
    ]


def capacity_line(plan: Plan) -> str:
    """Context, requests at once, tokens of the cache."""
    ledger, config = plan.choice.expected, plan.config
    low, high = plan.choice.cautious.max_concurrency, plan.choice.hopeful.max_concurrency
    if plan.model.is_encoder:
        return f"{tokens(config.max_model_len)} tokens of text; an encoder keeps no KV cache."
    return (
        f"{tokens(config.max_model_len)} tokens of context; {ledger.max_concurrency:.2f} requests of that length at once "
        f"({low:.2f} to {high:.2f}); KV cache of {tokens(ledger.kv_cache_tokens)} tokens."
    )


def number(value: float) -> str:
    """A figure of two digits."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def between(figure: Range) -> str:
    """A figure with its ends."""
    return f"{number(figure.expected)} ({number(min(figure.cautious, figure.hopeful))} to {number(max(figure.cautious, figure.hopeful))})"


def speed_lines(found: SpeedEstimate | NoSpeed) -> Iterator[str]:
    """One line on speed and one on how sure it is, or one that says why there is none; nothing of a server whose verdict says it already."""
    if isinstance(found, NoSpeed):
        if found != DOES_NOT_START:
            yield f"No speed: {found.reason}."
        return
    text = f"Speed, prompt {tokens(found.prompt_tokens)}, answer {tokens(found.answer_tokens)}: one user {between(found.tokens_per_s)} tokens/s, "
    first = found.time_to_first_token_s
    text += "time to first token unknown" if first is None else f"first token in {between(first)} s"
    if found.users > 1 and found.total_tokens_per_s is not None:
        text += f"; {found.users} users together {between(found.total_tokens_per_s)}"
    yield text + "."
    yield f"{found.grade}: {found.because}; a step is bound by {found.bound_by}"


def _weights_note(plan: Plan) -> str:
    checkpoint = plan.model.checkpoint
    return "exact" if checkpoint is None or checkpoint.stored_bytes == checkpoint.derived_bytes else "from the checkpoint's tensors"


def ledger_rows(plan: Plan) -> Iterator[tuple[str, int, str]]:
    """The ledger of a GPU: terms that sum to what is requested (`parts`), that sum, and what one request needs; bytes, and how it is known."""
    choice = plan.choice
    notes = {
        "weights": _weights_note(plan),
        "buffers": "rotary tables, exact",
        "outside torch": "calibrated",
        "activation": "calibrated",
        "CUDA graphs": "calibrated",
        "KV cache": f"{choice.cautious.kv_cache_bytes / GIB:.2f} to {choice.hopeful.kv_cache_bytes / GIB:.2f}; {tokens(choice.expected.kv_cache_blocks)} blocks",
    }
    notes[LEFT] = "an encoder does not use it"
    if plan.config.kv_cache_memory_bytes is not None:
        notes["KV cache"] = "pinned"
    for name, size in parts(plan):
        yield name, size, notes[name]
    yield "requested", choice.expected.requested_bytes, f"{plan.config.gpu_memory_utilization:g} of {gib(choice.expected.total_bytes)}"
    if not plan.model.is_encoder:
        yield "one request", choice.expected.kv_cache_needed_bytes, "KV cache it needs"
