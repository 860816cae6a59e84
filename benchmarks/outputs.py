"""The repository's own outputs: `python -m benchmarks.outputs` writes the plans of the guide's machines and predictions.csv.

Launch scripts a reader can copy, the emitters' golden files, and a diff that shows the whole effect of a formula change.
"""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from planner.catalogue.cards import cards
from planner.catalogue.load import find_gpu, find_model
from planner.catalogue.resolve import find_source
from planner.cli.files import plan_text
from planner.cli.output import PLAN
from planner.emit import files_of
from planner.engines.vllm.choice import Request
from planner.engines.vllm.plan import Plan, make_plan
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup
from planner.facts.question import ServiceRow, StackRow
from planner.questions.plan import answer_for
from planner.questions.question import folder_name
from planner.units import GIB

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "outputs"
PREDICTIONS = "predictions.csv"
_LEAST_BYTES = 11 * GIB  # what has less holds none of the grid's models
IGNORED = """\
# Written by `python -m benchmarks.outputs`. What is asked in a clone lies beside what the repository holds, and is not its own.
.plan-manifest.json
/*
"""
K = 1024
# The guide's five machines, each with what it recommends there (or the nearest that starts).
EMBEDDING = "qwen3-embedding-0.6b"
OTHERS = [
    StackRow(gpu="m4-max-128gb", services=[ServiceRow(model="qwen3-vl-32b", context=64 * K), ServiceRow(model=EMBEDDING), ServiceRow(model="ministral-3-14b")]),
    StackRow(gpu="rtx4090", engine="ollama", services=[ServiceRow(model="qwen3-vl-30b-a3b", context=40 * K), ServiceRow(model=EMBEDDING)]),
]
MACHINES: list[tuple[str, int, str, int, tuple[str, ...]]] = [
    ("rtx3090", 2, "qwen3-vl-32b-awq", 128 * K, ()),
    ("rtx4090", 2, "qwen3-vl-32b-awq", 128 * K, ()),
    ("rtx4090", 2, "ministral-3-14b-awq", 128 * K, ()),
    ("rtx4090", 2, "ministral-3-14b-awq", 128 * K, (EMBEDDING,)),
    ("rtx4090", 2, "qwen3-vl-32b-awq", 80 * K, (EMBEDDING,)),
    ("l40s", 2, "qwen3-vl-32b-awq", 128 * K, ()),
    ("a100-40", 1, "qwen3-vl-32b-awq", 64 * K, ()),
    ("a100-80", 1, "qwen3-vl-32b", 32 * K, ()),
    ("a100-80", 1, EMBEDDING, 8 * K, ()),
]
GRID_MODELS = [
    "qwen3-8b",
    "qwen3-vl-32b-awq",
    "qwen3-30b-a3b-fp8",
    "gpt-oss-20b",
    "gemma-3-27b",
    "qwen3.5-27b",
    "deepseek-v3",
    "nemotron-3-nano-30b-a3b",
    "llama-3.1-8b-w4a16",
    "llama-4-scout",
    "qwen3-embedding-0.6b",
]
COLUMNS = (
    "gpu",
    "count",
    "model",
    "verdict",
    "tp",
    "pp",
    "kv_cache_dtype",
    "max_model_len",
    "weights_bytes",
    "activation_bytes",
    "non_torch_bytes",
    "cuda_graph_bytes",
    "kv_cache_bytes",
    "kv_cache_tokens",
    "max_concurrency",
)


def plan_for(gpu: str, count: int, model: str, context: int | None) -> Plan:
    """Plan one server as the command line does."""
    source = find_source(model)
    request = Request(model=source.spec, group=GpuGroup(gpu=find_gpu(gpu), count=count), context=context)
    return make_plan(request, repo=source.repo, served_name=source.served_name, market=source.market)


def plan_files() -> Iterator[tuple[str, str]]:
    """(path below outputs/, text) of every plan's files."""
    rows = [
        StackRow(gpu=gpu, count=count, services=[ServiceRow(model=model, context=context), *(ServiceRow(model=other) for other in beside)])
        for gpu, count, model, context, beside in MACHINES
    ]
    folders = []
    for row in (*rows, *OTHERS):
        found = answer_for(row)
        folder = folder_name(found.question)
        folders.append(folder)
        texts = files_of(found.deployment)
        yield from ((f"{folder}/{name}", text) for name, text in (texts | {PLAN: plan_text(found, Path("outputs") / folder, (*texts, PLAN))}).items())
    yield ".gitignore", IGNORED + "".join(f"!/{name}\n" for name in (".gitignore", PREDICTIONS, *(f"{folder}/" for folder in folders)))


def predictions() -> str:
    """One line for each model of the grid on every GPU, one and four of them."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for card in cards():
        for count in (1, 4):
            for model in GRID_MODELS if card.memory_bytes >= _LEAST_BYTES else []:
                table.writerow((card.name, count, model, *_prediction(card.name, count, model)))
    return text.getvalue()


def _prediction(gpu: str, count: int, model: str) -> tuple[object, ...]:
    entry = find_model(model)
    assert entry is not None
    try:
        plan = plan_for(gpu, count, model, None)
    except PlannerError as error:
        return (f"refused: {error.message}",)
    config, ledger = plan.config, plan.choice.expected
    return (
        plan.verdict,
        config.tensor_parallel_size,
        config.pipeline_parallel_size,
        config.kv_cache_dtype,
        config.max_model_len,
        ledger.weights_bytes,
        ledger.activation_bytes,
        ledger.non_torch_bytes,
        ledger.cuda_graph_bytes,
        ledger.kv_cache_bytes,
        ledger.kv_cache_tokens,
        round(ledger.max_concurrency, 4),
    )


def tracked() -> set[str]:
    """What git holds of outputs/: what lies beside it is a person's."""
    done = subprocess.run(["git", "ls-files", "-z", "outputs"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.removeprefix("outputs/") for name in done.stdout.split("\0") if name}


def main() -> None:
    """Write everything anew, and take away what the repository held under other names."""
    written = dict(plan_files()) | {PREDICTIONS: predictions()}
    for name in tracked() - set(written):
        (FOLDER / name).unlink(missing_ok=True)
        with suppress(OSError):  # something of a person's is in it
            (FOLDER / name).parent.rmdir()
    for name, text in written.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if name.endswith(".sh"):
            path.chmod(0o755)


if __name__ == "__main__":
    main()
