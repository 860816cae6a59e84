"""vLLM's own answers, frozen: `python -m benchmarks.judge_rows NAME ...` asks for these files of tests/data/configs anew, without names for all that have rows.

Each model is asked on simulated H100s for tensor parallelism over 1, 2, 4 and 8 GPUs and for both stages of a pipeline of two: bytes of every
parameter a rank holds, KV blocks, tokens, concurrency. What the judge refuses or cannot build is printed and gets no row.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.catalogue import load
from planner.engines.vllm.versions import DEFAULT_VERSION

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "tests" / "data" / "configs"
FILE = ROOT / "tests" / "data" / f"vllm_{DEFAULT_VERSION}_judged.jsonl"
JUDGE = ROOT / "planner" / "engines" / "vllm" / "judge"
GPU, AVAILABLE, LONGEST = "h100", 20 * 2**30, 32_768
WAYS: tuple[dict[str, int], ...] = ({"tp": 1}, {"tp": 2}, {"tp": 4}, {"tp": 8}, {"tp": 1, "pp": 2, "stage": 0}, {"tp": 1, "pp": 2, "stage": 1})
Row = dict[str, Any]


def ask(questions: Sequence[Row]) -> list[Row]:
    """The judge's answers, one a question."""
    gpu = load.find_gpu(GPU)
    major, minor = gpu.compute_capability or (0, 0)
    python = Path.home() / ".cache" / "serve-plan" / f"vllm-{DEFAULT_VERSION}" / "bin" / "python"
    done = subprocess.run(
        [python, "judge.py", gpu.name, f"{major}.{minor}", str(gpu.cuda_total_bytes), "8"],
        cwd=JUDGE,
        input="".join(json.dumps(question) + "\n" for question in questions),
        text=True,
        capture_output=True,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if len(answers) != len(questions):
        sys.exit(done.stderr[-2000:])
    return answers


def read(stem: str) -> Row:
    """The question's files of one model."""
    quantization = CONFIGS / f"{stem}.hf_quant.json"
    return {
        "config": json.loads((CONFIGS / f"{stem}.json").read_text()),
        "hf_quant": json.loads(quantization.read_text()) if quantization.exists() else None,
    }


def rows(stems: Sequence[str]) -> list[Row]:
    """The rows of these models."""
    files = {stem: read(stem) for stem in stems}
    lengths = dict(zip(stems, ask([file | {"argv": ["vllm", "serve", "x"]} for file in files.values()]), strict=True))
    cases, questions = [], []
    for stem, file in files.items():
        if not lengths[stem]["valid"]:
            print(f"{stem}: {lengths[stem]['error']}")
            continue
        length = min(LONGEST, lengths[stem]["max_model_len"])
        for way in WAYS:
            argv = ["vllm", "serve", "x", "-tp", str(way["tp"]), "-pp", str(way.get("pp", 1)), "--max-model-len", str(length)]
            questions.append(file | {"argv": argv, "plan": True, "available_bytes": AVAILABLE, "stage": way.get("stage", 0)})
            cases.append({"model": stem.replace("--", "/"), "gpu": GPU, "kv_cache_dtype": "auto", **way, "max_model_len": length, "available_bytes": AVAILABLE})
    answered = []
    for case, answer in zip(cases, ask(questions), strict=True):
        if answer.pop("valid"):
            answered.append(case | answer)
        else:
            print(f"{case['model']} { ({key: case[key] for key in ('tp', 'pp', 'stage') if key in case}) }: {answer['error']}")
    return answered


def main(names: Sequence[str]) -> None:
    """Ask and write; rows of other models stay."""
    kept = [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.exists() else []
    stems = [name.removesuffix(".json").replace("/", "--") for name in names] or sorted({row["model"].replace("/", "--") for row in kept})
    asked = {stem.replace("--", "/") for stem in stems}
    written = sorted([row for row in kept if row["model"] not in asked] + rows(stems), key=lambda row: row["model"])
    FILE.write_text("".join(json.dumps(row) + "\n" for row in written))


if __name__ == "__main__":
    main(sys.argv[1:])
