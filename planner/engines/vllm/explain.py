"""What a log says beside what was predicted for the same command: differences with their causes, and the command that starts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from planner.engines.vllm.check import Checked
from planner.engines.vllm.memory import place, stage_budgets
from planner.engines.vllm.overhead import Outlook
from planner.engines.vllm.remedies import Remedy, longest_that_fits, remedies
from planner.facts.observed import Observed
from planner.units import GIB, tokens

CLOSE = 0.01  # a difference below one percent of the GPU needs no cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One component of the ledger, predicted and observed, in bytes (concurrency and tokens as they are)."""

    what: str
    predicted: float
    observed: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The answer about a log."""

    observed: Observed
    words: tuple[str, ...]
    predicted: Checked | None
    differences: tuple[Difference, ...]
    fixed_argv: tuple[str, ...] | None
    fixed_by_estimate: bool = False  # by vLLM's own count of the longest context that fits
    remedies: tuple[Remedy, ...] = ()  # what the message itself calls for, whatever else is known


def explain(observed: Observed, words: Sequence[str], predicted: Checked | None) -> Explained:
    """Set a log beside the prediction for its command; `predicted` is None where the model or the GPU is not known."""
    differences = tuple(_differences(observed, predicted)) if predicted and predicted.plan else ()
    estimated = _estimated(observed, words)  # the engine's own count on that very machine goes before ours
    fixed = estimated or _fixed(observed, words, predicted)
    return Explained(
        observed=observed,
        words=tuple(words),
        predicted=predicted,
        differences=differences,
        fixed_argv=fixed,
        fixed_by_estimate=estimated is not None,
        remedies=remedies(observed.root_cause) if observed.root_cause else (),
    )


def _differences(observed: Observed, checked: Checked) -> list[Difference]:
    plan = checked.plan
    if plan is None:
        return []
    ledger, request = plan.choice.expected, checked.request
    placed = place(request.model, request.group, checked.config)
    first = stage_budgets(request.model, request.group, checked.config, Outlook.EXPECTED, placed)[0]  # the log's first worker
    total = observed.total_bytes or ledger.total_bytes
    other_batch = "another batch, sequence limit or image size than the command says, or this GPU's kernels"
    pairs: list[tuple[str, int, int | None, str]] = [
        ("weights", first.weights_bytes + first.buffers_bytes, observed.weights_bytes, "another checkpoint, a drafter, or a part that is not loaded"),
        ("activation", first.activation_bytes, observed.activation_bytes, other_batch),
        ("non_torch", first.non_torch_bytes, observed.non_torch_bytes, "communication buffers and kernel workspaces of this machine"),
        ("cuda_graph", first.cuda_graph_bytes, observed.cuda_graph_bytes, "how much graphs take varies by GPU"),
        ("kv_cache", first.kv_cache_bytes, observed.kv_cache_bytes, "what the others leave"),
    ]
    found = [
        Difference(what=what, predicted=predicted, observed=seen, why=why if abs(predicted - seen) > CLOSE * total else "")
        for what, predicted, seen, why in pairs
        if seen is not None and not (what == "cuda_graph" and not ledger.cuda_graph_bytes)
    ]
    if observed.kv_cache_tokens is not None:
        found.append(Difference(what="kv_cache_tokens", predicted=ledger.kv_cache_tokens, observed=observed.kv_cache_tokens, why=""))
    if observed.max_concurrency is not None:
        found.append(Difference(what="max_concurrency", predicted=ledger.max_concurrency, observed=observed.max_concurrency, why=""))
    return found


_MENDED_BY_FLAGS = ("free-memory", "no-kv-memory", "kv-cache-too-small", "out-of-memory", "not-divisible", "unsupported", "bad-value", "unknown-flag")


def _fixed(observed: Observed, words: Sequence[str], checked: Checked | None) -> tuple[str, ...] | None:
    """The same command with the smallest checked change; None where it started or no change of the command would help."""
    if observed.started or not words or checked is None or observed.root_cause is None or observed.root_cause.code not in _MENDED_BY_FLAGS:
        return None
    changes = [alternative.arguments for alternative in checked.plan.alternatives] if checked.plan else []
    changes += [problem.fix for problem in checked.problems if problem.fix.startswith("--")]
    return ("vllm", "serve", *changed(words, shlex.split(changes[0]))) if changes else None


def _estimated(observed: Observed, words: Sequence[str]) -> tuple[str, ...] | None:
    """The command with the context that vLLM's message says would fit; None where it says none."""
    longest = longest_that_fits(observed.root_cause.message) if observed.root_cause else None
    return ("vllm", "serve", *changed(words, ["--max-model-len", str(longest)])) if longest and words else None


def changed(words: Sequence[str], change: Sequence[str]) -> list[str]:
    """A command's words with other values for some flags."""
    kept = list(words)
    flags = [word for word in change if word.startswith("--")]
    for flag in flags:
        while flag in kept:
            at = kept.index(flag)
            takes_value = at + 1 < len(kept) and not kept[at + 1].startswith("--")
            del kept[at : at + (2 if takes_value else 1)]
    return kept + list(change)


def size(difference: Difference, value: float) -> str:
    """A value as the report prints it."""
    if difference.what == "kv_cache_tokens":
        return tokens(int(value))
    return f"{value:.2f}" if difference.what == "max_concurrency" else f"{value / GIB:.2f}"


__all__ = ["Difference", "Explained", "changed", "explain", "size"]
