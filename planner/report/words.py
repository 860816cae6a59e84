"""What is said of a vLLM plan, in words: the terminal and the page print the same."""

from __future__ import annotations

from collections.abc import Iterator

from planner.engines.vllm.plan import Plan
from planner.facts.speed import DOES_NOT_START, NoSpeed, Range, SpeedEstimate
from planner.units import GIB, gib, tokens

LEFT = "left over"


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


def number(value: float) -> str:
    """A figure of two digits."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def between(figure: Range) -> str:
    """A figure with its ends."""
    return f"{number(figure.expected)} ({number(min(figure.conservative, figure.optimistic))} to {number(max(figure.conservative, figure.optimistic))})"


def speed_lines(found: SpeedEstimate | NoSpeed) -> Iterator[str]:
    """One line on speed and one on how sure it is, or one that says why there is none; nothing of a server whose verdict says it already."""
    if isinstance(found, NoSpeed):
        if found != DOES_NOT_START:
            yield f"No speed: {found.reason}."
        return
    text = f"Speed with {tokens(found.prompt_tokens)} prompt and {tokens(found.answer_tokens)} output tokens: one user {between(found.tokens_per_s)} tokens/s, "
    first = found.time_to_first_token_s
    text += "TTFT unknown" if first is None else f"TTFT {between(first)} s"
    if found.users > 1 and found.total_tokens_per_s is not None:
        text += f"; concurrency {found.users}: {between(found.total_tokens_per_s)} tokens/s together"
    yield text + "."
    yield f"{found.grade}: {found.because}; a step is bound by {found.bound_by}"


def _weights_note(plan: Plan) -> str:
    checkpoint = plan.model.checkpoint
    return "exact" if checkpoint is None or checkpoint.stored_bytes == checkpoint.derived_bytes else "from the checkpoint's tensors"


def ledger_rows(plan: Plan) -> Iterator[tuple[str, int, str]]:
    """The ledger of a GPU, in bytes, and how each term is known.

    Of a server that starts: the terms, which sum to what is requested (`parts`), that sum, what one request needs. Of one that does not: the
    terms, then need against what there is. No row is ever negative.
    """
    choice = plan.choice
    notes = {
        "weights": _weights_note(plan),
        "buffers": "rotary tables, exact",
        "outside torch": "calibrated",
        "activation": "calibrated",
        "CUDA graphs": "calibrated",
        "KV cache": f"{max(0, choice.conservative.kv_cache_bytes) / GIB:.2f} to {choice.optimistic.kv_cache_bytes / GIB:.2f}; {tokens(choice.expected.kv_cache_blocks)} blocks",
    }
    notes[LEFT] = "an encoder does not use it"
    if plan.config.kv_cache_memory_bytes is not None:
        notes["KV cache"] = "pinned"
    for name, size in parts(plan):
        if size >= 0 and (size or name != "KV cache"):
            yield name, size, notes[name]
    if plan.rejection is None:
        yield "requested", choice.expected.requested_bytes, _share(plan)
    if not plan.model.is_encoder:
        yield "one request", choice.expected.kv_cache_needed_bytes, "KV cache it needs"
    yield from _need(plan)


def _share(plan: Plan) -> str:
    return f"{plan.config.gpu_memory_utilization:g} of {gib(plan.choice.expected.total_bytes)}"


def _need(plan: Plan) -> Iterator[tuple[str, int, str]]:
    """What the limit that is hit needs, what there is of it, and the difference."""
    if plan.rejection is None:
        return
    ledger, short = plan.choice.expected, plan.rejection.short_by_bytes
    of_free = plan.rejection.code in ("free-memory", "out-of-memory")
    there = ledger.free_at_start_bytes if of_free else ledger.requested_bytes
    loading = there + short == ledger.weights_bytes + ledger.buffers_bytes
    needs = {"free-memory": "asked for at start", "out-of-memory": "weights and buffers" if loading else "once KV cache and CUDA graphs are there"}
    yield "needed", there + short, needs.get(plan.rejection.code, "with the KV cache that is needed")
    yield "there is", there, "free at start" if of_free else _share(plan)
    yield "short by", short, ""


def settings_rows(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Each setting with its value and reason; of a server that does not start only how it is divided, and what the user fixed."""
    for name, reason in plan.choice.reasons:
        if (
            plan.verdict != "does_not_start"
            or name in ("tensor_parallel_size", "pipeline_parallel_size", "gpu_memory_utilization")
            or reason in ("pinned", "as asked")
        ):
            yield name, str(getattr(plan.config, name)), reason
