"""Starts on consumer and workstation cards that people reported, as commands that `plan check` judges.

tests/data/consumer_starts.yaml holds them with their sources; only those of quality A or B, of the V1 engine, on a card and with a model
that the catalogues describe, are judged, and of the failures only those of memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from planner.catalog import find_gpu, find_model
from planner.check import Checked, check
from planner.engines.flags import parse_flags
from planner.engines.versions import nearest_version
from planner.errors import PlannerError
from planner.hardware import GpuGroup, GpuSpec, Host
from planner.units import GIB

DATA = Path(__file__).parent.parent / "tests" / "data" / "consumer_starts.yaml"
NOT_MEMORY = "not_memory_or_unproven"
FLAGS = ("max_model_len", "gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "kv_cache_dtype")


@dataclass(frozen=True, slots=True)
class Reported:
    """One reported start and our answer."""

    name: str
    started: bool
    failure: str
    checked: Checked


def _gpu(case: dict[str, Any]) -> GpuSpec | None:
    name = re.sub(r"\(.*?\)|NVIDIA|GeForce|Blackwell|\d+\s?GB\b", "", str(case.get("gpu", ""))).strip()
    try:
        gpu = find_gpu(name)
    except PlannerError:
        return None
    total = int(float(case["gpu_total_gib"]) * GIB) if "gpu_total_gib" in case else gpu.cuda_total_bytes
    free = int(float(case["free_at_start_gib"]) * GIB) if "free_at_start_gib" in case else None
    total = min(total, gpu.wsl2_total_bytes or gpu.memory_bytes)  # nvidia-smi's figure is not CUDA's
    return replace(gpu, cuda_total_bytes=total, wsl2_total_bytes=total, free_at_start_bytes=free, wsl2_free_at_start_bytes=free)


def _words(case: dict[str, Any]) -> list[str]:
    words = ["--tensor-parallel-size", str(case.get("tp", 1)), "--pipeline-parallel-size", str(case.get("pp", 1))]
    for name in FLAGS:
        if case.get(name) is not None:
            words += ["--" + name.replace("_", "-"), str(case[name])]
    words += ["--enforce-eager"] if case.get("enforce_eager") is True else []
    other = str(case.get("other_flags", ""))
    words += [word for word in ("--language-model-only", "--skip-mm-profiling") if word in other]
    words += ["--speculative-config", "{}"] if "spec" in other.lower() or "mtp" in other.lower() else []
    return words


def reported() -> Iterator[Reported]:
    """Every start that can be judged."""
    for case in yaml.safe_load(DATA.read_text()):
        entry = find_model(str(case.get("model", ""))) if case.get("model") else None
        memory = case["started"] or case.get("failure_class") not in (None, NOT_MEMORY)
        if case.get("engine") != "V1" or case["quality"] not in "AB" or entry is None or not memory:
            continue
        gpu = _gpu(case)
        if gpu is None:
            continue
        version = nearest_version(str(case.get("vllm_version", ""))).name
        values, _, faults = parse_flags(_words(case), version)
        host = Host.WSL2 if "WSL2" in str(case.get("gpu", "")) else Host.SERVER
        group = GpuGroup(gpu=gpu, count=int(case.get("gpu_count", 1)), host=host)
        checked = check(values, faults, entry.spec(), group, repo=entry.variant.repo, argv=(), version=version)
        yield Reported(case["id"], case["started"], str(case.get("failure_class", "")), checked)


if __name__ == "__main__":
    for row in reported():
        plan = row.checked.plan
        print(
            row.name,
            row.started,
            row.failure,
            row.checked.verdict,
            [p.message for p in row.checked.problems],
            plan and round(plan.choice.expected.kv_cache_bytes / GIB, 2),
        )
