"""Every chat and embedding command of the guide this product grew from, judged: the first part of docs/guide.md (`python -m benchmarks.guide`).

The commands are judged as they stand: what they leave open gets vLLM's default for that GPU, not our choice.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from planner.catalogue import resolve
from planner.catalogue.load import find_gpu
from planner.catalogue.resolve import find_source
from planner.engines.vllm.check import Checked
from planner.engines.vllm.judged import judge as check_found
from planner.engines.vllm.plan import Plan
from planner.facts.command import Command
from planner.facts.hardware import GpuGroup
from planner.units import GB, GIB, gib, tokens


@dataclass(frozen=True)
class Case:
    """One command on one machine, and what the guide says of it; its sizes are of all GPUs together, in its own GB."""

    machine: str
    gpu: str
    count: int
    model: str
    claim: str
    settings: dict[str, Any]
    weights_gb: float | None = None
    cache_gb: float | None = None
    at_most_tokens: int | None = None
    needs_eager: bool = False


FP8 = "fp8_e4m3"
AWQ = {"max_model_len": 131_072, "tensor_parallel_size": 2, "kv_cache_dtype": FP8, "gpu_memory_utilization": 0.90, "max_num_seqs": 64}
MINISTRAL = AWQ | {"max_num_seqs": 16}
LONG_MINISTRAL = MINISTRAL | {"max_model_len": 262_144, "enforce_eager": True}
A3B: dict[str, Any] = {"max_model_len": 32_768, "tensor_parallel_size": 2}
FULL: dict[str, Any] = {"max_model_len": 131_072, "gpu_memory_utilization": 0.90, "max_num_seqs": 64}
ONE_CARD: dict[str, Any] = {"max_model_len": 131_072, "kv_cache_dtype": FP8, "gpu_memory_utilization": 0.90}
A100_40 = ONE_CARD | {"max_model_len": 65_536}


def _embed(tp: int, share: float) -> dict[str, Any]:
    return {"max_model_len": 512, "tensor_parallel_size": tp, "gpu_memory_utilization": share, "enforce_eager": True}


def _pairs() -> Iterator[Case]:
    """What the guide says of two RTX 4090 and of two RTX 3090 alike."""
    for machine, gpu in (("2x RTX 4090", "rtx4090"), ("2x RTX 3090", "rtx3090")):
        yield Case(machine, gpu, 2, "qwen3-vl-32b-awq", "128K fits, also beside the embedding server", AWQ, weights_gb=18, cache_gb=8)
        yield Case(machine, gpu, 2, "qwen3-vl-30b-a3b-awq", "fits with 32K", A3B, weights_gb=18)
        yield Case(machine, gpu, 2, "ministral-3-14b-awq", "128K with CUDA graphs", MINISTRAL, weights_gb=5, cache_gb=8)
        yield Case(machine, gpu, 2, "ministral-3-14b-awq", "256K only with --enforce-eager", LONG_MINISTRAL, weights_gb=5, needs_eager=True)
        yield Case(machine, gpu, 2, "ministral-3-14b-fp8", "'full precision'; 32K at most because of memory", A3B, weights_gb=28, at_most_tokens=32_768)
        yield Case(machine, gpu, 2, "qwen3-embedding-0.6b", "split over both beside the chat model, about 1 GB a GPU", _embed(2, 0.04), weights_gb=1.2)


CASES = [
    *_pairs(),
    Case("2x L40S", "l40s", 2, "qwen3-vl-32b", "no quantization needed for 128K", FULL | {"tensor_parallel_size": 2}, weights_gb=64, cache_gb=16),
    Case("1x L40S", "l40s", 1, "qwen3-vl-32b-awq", "128K on one card", ONE_CARD, weights_gb=18, cache_gb=8),
    Case("A100 40GB", "a100-40", 1, "qwen3-vl-32b-awq", "64K with FP8 cache", A100_40, weights_gb=18),
    Case("A100 80GB", "a100-80", 1, "qwen3-vl-32b", "full precision, maximum context", FULL, weights_gb=64, cache_gb=16),
    Case("2x L40S, embedding beside", "l40s", 2, "qwen3-vl-32b", "chat at 0.95", FULL | {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.95}),
    Case("A100 40GB, embedding beside", "a100-40", 1, "qwen3-vl-32b-awq", "chat at 0.92", A100_40 | {"gpu_memory_utilization": 0.92}),
    Case("A100 80GB, embedding beside", "a100-80", 1, "qwen3-vl-32b", "chat at 0.95", FULL | {"gpu_memory_utilization": 0.95}),
    Case("RTX 4090, alone", "rtx4090", 1, "qwen3-embedding-0.6b", "any GPU at 0.10", _embed(1, 0.10), weights_gb=1.2),
    Case("L40S", "l40s", 1, "qwen3-embedding-0.6b", "0.03, about 1.5 GB", _embed(1, 0.03), weights_gb=1.2),
    Case("A100 40GB", "a100-40", 1, "qwen3-embedding-0.6b", "0.03, about 1.2 GB", _embed(1, 0.03), weights_gb=1.2),
    Case("A100 80GB", "a100-80", 1, "qwen3-embedding-0.6b", "0.02, about 1.6 GB", _embed(1, 0.02), weights_gb=1.2),
]


def words(case: Case) -> list[str]:
    """The command's words after `vllm serve`."""
    flags = [
        [f"--{name.replace('_', '-')}"] if value is True else [f"--{name.replace('_', '-')}", str(value)] for name, value in case.settings.items() if value
    ]
    return [find_source(case.model).repo, *(word for flag in flags for word in flag)]


def judge(case: Case) -> Checked:
    """The command as it stands, as `plan check` judges it."""
    return check_found(Command(engine="vllm", words=tuple(words(case))), GpuGroup(gpu=find_gpu(case.gpu), count=case.count), resolve)


def _ours(checked: Checked, plan: Plan) -> str:
    choice = plan.choice
    ledger = choice.expected
    cache = (
        f"cache {choice.conservative.kv_cache_bytes / GIB:.2f} to {gib(choice.optimistic.kv_cache_bytes)}, a request needs {gib(ledger.kv_cache_needed_bytes)}"
    )
    return f"**{checked.verdict.replace('_', ' ')}**: weights {gib(ledger.weights_bytes)}, {cache}"


def _size(what: str, ours_bytes: int, claimed_gb: float | None, cause: str) -> Iterator[str]:
    """One claimed size against ours, both in GB; silent within five percent."""
    if claimed_gb is not None and abs(ours_bytes / GB - claimed_gb) > 0.05 * claimed_gb:
        yield f"{what} {ours_bytes / GB:.1f} GB, not {claimed_gb:g}: {cause}"


WEIGHT_CAUSE = {
    "qwen3-vl-32b": "the vision tower and the untied head count too",
    "qwen3-vl-32b-awq": "vision tower, embeddings and head stay in 16 bits, and each group of 128 has a scale and a zero point",
    "ministral-3-14b-awq": "vision tower, embeddings and head stay in 16 bits",
    "ministral-3-14b-fp8": "the repository holds FP8 weights",
}


def differences(case: Case, checked: Checked, plan: Plan) -> Iterator[str]:
    """Why our verdict and sizes are not the guide's; nothing where they agree."""
    ledger, cards = plan.choice.expected, case.count
    yield from (problem.message for problem in checked.problems)
    if checked.verdict == "tight":
        yield "enough with the expected overheads, not with the conservative ones"
    yield from _size("weights are", ledger.weights_bytes * cards, case.weights_gb, WEIGHT_CAUSE.get(case.model, ""))
    counted = f"{tokens(plan.config.max_model_len)} tokens x {ledger.kv_cache_needed_bytes * cards // plan.config.max_model_len:,} bytes"
    yield from _size("the cache of one request is", ledger.kv_cache_needed_bytes * cards, case.cache_gb, counted)
    if case.at_most_tokens:
        yield f"memory allows {tokens(ledger.longest_max_model_len)} tokens, not {tokens(case.at_most_tokens)}"
    if case.needs_eager and judge(replace(case, settings=case.settings | {"enforce_eager": False})).verdict == "starts":
        yield "it starts with CUDA graphs too"


def _verdicts(answers: list[tuple[Case, Checked]]) -> Iterator[str]:
    """How many commands start."""
    counts = Counter(checked.verdict for _, checked in answers)
    wrong = sum(1 for case, checked in answers if checked.plan and any(differences(case, checked, checked.plan)))
    yield (
        f"Of {len(answers)} commands {counts['starts']} start, {counts['tight']} may (*tight*: enough with expected overheads, not with conservative ones), "
        f"{counts['does_not_start']} do not; {len(answers) - wrong} are as the guide says."
    )


def _section(case: Case, checked: Checked) -> Iterator[str]:
    """One command: what the guide says, what happens, why, and what would start."""
    plan = checked.plan
    sizes = [f"{size:g} GB of {what}" for what, size in (("weights", case.weights_gb), ("cache", case.cache_gb)) if size]
    yield from (f"### {case.machine}: {case.model}", "", "```sh", shlex.join(["vllm", "serve", *words(case)]), "```", "")
    yield f"- The guide: {', '.join([case.claim, *sizes])}."
    if plan is None:
        yield f"- It **does not start**: {'; '.join(problem.message for problem in checked.problems)}."
        return
    yield f"- Each GPU: {_ours(checked, plan)}."
    yield f"- Why: {'; '.join(differences(case, checked, plan)) or 'they agree'}."
    if plan.alternatives:
        yield f"- What starts: {', or '.join(f'`{alternative.arguments}`' for alternative in plan.alternatives)}."
    yield ""


def part() -> list[str]:
    """The lines of the part."""
    answers = [(case, judge(case)) for case in CASES]
    return [
        "## Its commands, judged",
        "",
        "Each chat and embedding command of the guide, as it stands, on the machine it is meant for, as `plan check` judges it for vLLM 0.33 (what a command leaves",
        "open has vLLM's default). Our sizes are of one GPU; where they are compared with the guide's they are of all GPUs, in GB of 10^9 bytes as the guide's.",
        "Changes under *What starts* were each evaluated.",
        "",
        *_verdicts(answers),
        "",
        *(line for case, checked in answers for line in _section(case, checked)),
        *NOTES,
        "",
    ]


NOTES = [
    "### Beside the numbers",
    "",
    "- An embedding server at a share of 0.02 to 0.04 has next to nothing beside its weights: memory outside torch and the activations of one batch take the rest.",
    "- The guide's Ministral-3-14B AWQ is compressed-tensors, not AutoAWQ; vLLM detects it.",
    "- FP8 KV cache on the RTX 3090, RTX 4090, A100 and L40S runs through FlashInfer, which needs nvcc as well as ninja and a C compiler.",
    "- Two servers on one GPU are judged here one at a time, each as the guide starts it; the second also needs what the first left free.",
]
