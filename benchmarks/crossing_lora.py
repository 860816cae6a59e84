"""LoRA adapters crossed with quantizations and divisions, before vLLM's own manager: `python -m benchmarks.crossing_lora [COUNT [SEED]]`.

A case is one of benchmarks/crossing.py with adapters enabled: bytes of every stacked matrix that vLLM's wrapped layers hold, and who refuses. Cases are
drawn by SEED.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from benchmarks.crossing import CANNOT_SAY, MEMORY, plain_configs, tower_names, words
from benchmarks.crossing_formats import FORMATS, quantized
from benchmarks.judge_rows import GPU, ROOT, Row
from planner.architecture import Config, build_model
from planner.catalogue.load import find_gpu
from planner.engines.vllm import lora
from planner.engines.vllm.check import check
from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.memory import place
from planner.engines.vllm.versions import DEFAULT_VERSION
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup

ADAPTERS = ROOT / "tests" / "oracle" / "adapters.py"


def cases(count: int, seed: int) -> Iterator[Row]:
    """So many cases of classes whose adapters are known."""
    random, configs = Random(seed), plain_configs()
    by_class: dict[str, list[str]] = {}
    for stem, config in configs.items():
        if lora.is_known(config["architectures"][0], DEFAULT_VERSION):
            by_class.setdefault(config["architectures"][0], []).append(stem)
    names = sorted(by_class)
    for _ in range(count):
        stem = random.choice(by_class[random.choice(names)])
        kind = random.choices(list(FORMATS), weights=list(FORMATS.values()))[0] if random.random() < 0.7 else "none"
        config = json.loads(json.dumps(configs[stem]))
        config |= quantized(kind, config, tower_names(config), random)
        way = f"-tp {random.choice([1, 2, 4, 8])} --enable-lora --max-loras {random.choice([1, 2, 4])} --max-lora-rank {random.choice([8, 16, 64])}"
        way += random.choice(["", "", " --fully-sharded-loras"]) + (random.choice(["", " --enable-expert-parallel"]) if "expert" in json.dumps(config) else "")
        yield {"model": stem, "format": kind, "way": way, "config": config}


def ours(case: Row) -> Row:
    """Our answer in the judge's terms."""
    values, _, _ = parse_flags(["x", *words(case)], DEFAULT_VERSION)
    group = GpuGroup(gpu=find_gpu(GPU), count=8)
    try:
        model = build_model(Config(case["config"], "config.json"), case["model"])
        checked = check(values, [], model, group, repo="x", argv=["vllm", "serve", "x", *words(case)], version=DEFAULT_VERSION)
        refused = [problem.message for problem in checked.problems if problem.code not in MEMORY]
        if refused:
            return {"error": refused[0]}
        return {"lora_bytes": place(model, group, checked.config).lora[0]}
    except PlannerError as error:
        return {"error": str(error)}


def ask(asked: Sequence[Row]) -> list[Row]:
    """VLLM's own answers, one a case."""
    gpu = find_gpu(GPU)
    major, minor = gpu.compute_capability or (0, 0)
    python = Path.home() / ".cache" / "serve-plan" / f"vllm-{DEFAULT_VERSION}" / "bin" / "python"
    questions = [{"config": case["config"], "hf_quant": None, "argv": ["vllm", "serve", "x", *words(case)]} for case in asked]
    told = "".join(json.dumps(question) + "\n" for question in questions)
    command = [python, ADAPTERS, gpu.name, f"{major}.{minor}", str(gpu.cuda_total_bytes), "8"]
    done = subprocess.run(command, input=told, text=True, capture_output=True, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if len(answers) != len(asked):
        sys.exit(done.stderr[-2000:])
    return answers


def difference(said: Row, theirs: Row) -> str:
    """What we say otherwise, or nothing."""
    if "error" in theirs and CANNOT_SAY.search(theirs["error"]):
        return ""
    if "error" in said and "error" in theirs:
        return ""
    if "error" in theirs:
        return f"vLLM refuses: {theirs['error']}"
    if "error" in said:
        return f"we refuse: {said['error']}"
    return "" if said["lora_bytes"] == theirs["lora_bytes"] else f"{said['lora_bytes']:,} not {theirs['lora_bytes']:,}"


def main(arguments: Sequence[str]) -> None:
    """Ask and print."""
    count, seed = (int(number) for number in (*arguments, *("150", "0")[len(arguments) :])[:2])
    asked = list(cases(count, seed))
    lines = []
    for number, (case, theirs) in enumerate(zip(asked, ask(asked), strict=True)):
        if line := difference(ours(case), theirs):
            lines.append(f"{number} {case['model']} {case['format']} {case['way']}: {line}")
    print(*lines, f"{len(lines)} of {count} otherwise, seed {seed}", sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
