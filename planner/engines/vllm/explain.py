"""What a log says beside what was predicted for the same command: differences with their causes, and the command that starts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from planner.engines.beside import CLOSE, changed
from planner.engines.vllm.admission import logged_tokens
from planner.engines.vllm.answer import judged
from planner.engines.vllm.check import Checked
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.judged import judge
from planner.engines.vllm.ledger import MemoryBreakdown
from planner.engines.vllm.log import command_words
from planner.engines.vllm.memory import Placement, place, stage_budgets
from planner.engines.vllm.remedies import longest_that_fits, remedies
from planner.engines.vllm.rules import unserved
from planner.engines.vllm.shareable import shareable
from planner.engines.vllm.versions import nearest_version
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.facts.hardware import GpuGroup, GpuSpec, Host
from planner.facts.observed import Difference, Explained, Observed

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue


def explain(observed: Observed, *, model: str, gpu: GpuSpec | None, count: int, catalogue: Catalogue) -> Explained:
    """Set a log beside the prediction for its command; `model` and `gpu` are what is known beyond the log.

    Raises PlannerError for a GPU that vLLM has no backend for.
    """
    told = bool(observed.flags.keys() & {"model", "model_tag"})
    if model and not observed.flags.get("model_tag"):
        observed.model = observed.flags["model"] = model
    words = command_words(observed)
    checked = _predict(observed, words, gpu, count, catalogue)
    estimated = _estimated(observed, words)  # the engine's own count on that very machine goes before ours
    return Explained(
        observed=observed,
        argv=("vllm", "serve", *words) if words else (),
        predicted=judged(checked) if checked else None,
        differences=tuple(_differences(observed, checked)) if checked else (),
        fixed_argv=estimated or _fixed(observed, words, checked),
        fixed_by_estimate=estimated is not None,
        remedies=remedies(observed.root_cause) if observed.root_cause else (),
        shareable=shareable(observed, told=told),
    )


_MOST_GPUS = 4096


def _predict(observed: Observed, words: Sequence[str], gpu: GpuSpec | None, count: int, catalogue: Catalogue) -> Checked | None:
    """The prediction for the same command on what the log says of the machine; None where something is not known."""
    if not words or gpu is None:
        return None
    if why := unserved(gpu):
        raise PlannerError(f"{gpu.title}: {why}", "name the GPU of the machine that wrote the log")
    version = nearest_version(observed.version or "").name
    values, _, _ = parse_flags(words, version)
    sizes = ("--tensor-parallel-size", "--pipeline-parallel-size", "--prefill-context-parallel-size", "--data-parallel-size")
    used = prod(_whole(values.get(flag)) for flag in sizes)
    if used > _MOST_GPUS:
        return None  # a log that was made up: what divides a model is sought among as many sizes as there are GPUs
    total, free = observed.total_bytes or gpu.cuda_total_bytes, observed.free_at_start_bytes
    group = GpuGroup(gpu=replace(gpu, cuda_total_bytes=total, most_total_bytes=None, free_at_start_bytes=free), count=count or max(1, used), host=Host.SERVER)
    try:
        return judge(Command(engine="vllm", words=tuple(words), version=version), group, catalogue)
    except PlannerError:
        return None  # a model that nobody here knows: the log is explained all the same


def _tokens(ledger: MemoryBreakdown, placed: Placement, checked: Checked, observed: Observed) -> int:
    """Tokens as the release that wrote the log counts them."""
    patch = re.match(r"v?\d+\.\d+\.(\d+)", observed.version or "")
    requests = int(ledger.max_concurrency * checked.config.max_model_len)
    return logged_tokens(replace(ledger, kv_cache_tokens=requests), placed.cache, checked.config, int(patch[1]) if patch else 0)


def _whole(value: object) -> int:
    return int(str(value)) if value is not None and str(value).isdigit() else 1


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
        (
            "weights",
            first.weights_bytes + first.lora_bytes + first.drafter_bytes + first.buffers_bytes,
            observed.weights_bytes,
            "another checkpoint, a drafter, or a part that is not loaded",
        ),
        ("activation", first.activation_bytes, observed.activation_bytes, other_batch),
        ("non_torch", first.non_torch_bytes, observed.non_torch_bytes, "communication buffers and kernel workspaces of this machine"),
        ("cuda_graph", first.cuda_graph_bytes, observed.cuda_graph_bytes, "how much graphs take varies by GPU"),
        ("kv_cache", first.kv_cache_bytes, observed.kv_cache_bytes, "what the others leave"),
    ]
    differences = [
        Difference(what=what, predicted=predicted, observed=seen, why=why if abs(predicted - seen) > CLOSE * total else "")
        for what, predicted, seen, why in pairs
        if seen is not None and not (what == "cuda_graph" and not ledger.cuda_graph_bytes)
    ]
    if observed.kv_cache_tokens is not None:
        differences.append(Difference(what="kv_cache_tokens", predicted=_tokens(ledger, placed, checked, observed), observed=observed.kv_cache_tokens, why=""))
    if observed.max_concurrency is not None:
        differences.append(Difference(what="max_concurrency", predicted=ledger.max_concurrency, observed=observed.max_concurrency, why=""))
    return differences


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
