"""Starts on consumer and workstation cards that people reported, as commands that `plan check` judges.

tests/data/consumer_starts.yaml holds them with their sources; only those of quality A or B, of the V1 engine, on a card and with a model
that the catalogues describe, are judged, and of the failures only those of memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from planner.architecture import Config, build_model
from planner.catalogue.load import find_gpu, find_model, gpu_rows
from planner.engines.catalogue import Source
from planner.engines.vllm.check import Checked, check
from planner.engines.vllm.drafter import drafted
from planner.engines.vllm.dtypes import KV_CACHE_DTYPES
from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.versions import nearest_version
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup, GpuSpec, Host
from planner.units import GIB

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue

DATA = Path(__file__).parent.parent / "tests" / "data" / "consumer_starts.yaml"
# Checkpoints whose quantization is known from their name, over the architecture of a catalogue row.
AUTOROUND = {"quant_method": "auto-round", "bits": 4, "group_size": 128, "packing_format": "auto_round:auto_gptq"}
AUTOROUND |= {"block_name_to_quantize": "model.language_model.layers,model.layers"}
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
FP8 |= {"modules_to_not_convert": ["lm_head", "model.embed_tokens", "visual", "model.visual"]}
FP8 |= {"ignored_layers_match_mode": "substring"}  # real files list every module of the tower
DESCRIBED = (
    (r"^Qwen/Qwen(3\.8)-27B(?:-FP8| \(FP8\))$", "qwen{}-27b", FP8),
    (r"^Qwen/Qwen(3\.8)-27B \(BF16\)$", "qwen{}-27b", None),
    (r"^Qwen(3\.[68])-27B AutoRound int4$", "qwen{}-27b", AUTOROUND),
    (r"^Qwen3\.6-(35B-A3B) AutoRound int4$", "qwen3.6-{}", AUTOROUND),
    (r"^gemma-4-(31b|26b-a4b)-it AutoRound int4$", "gemma-4-{}", AUTOROUND),
)
NOT_MEMORY = "not_memory_or_unproven"
AT_ANY_LENGTH = ("startup_free_check", "mamba_blocks_lt_max_num_seqs")  # failures that do not depend on a context nobody reported
FLAGS = ("max_model_len", "gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "kv_cache_dtype")


@dataclass(frozen=True, slots=True)
class Reported:
    """One reported start and our answer."""

    name: str
    started: bool
    failure: str
    checked: Checked
    kv_cache_gib: float | None
    length_told: bool = True  # whether the verdict can be compared: what is left for the cache does not depend on the length
    words: tuple[str, ...] = ()  # of the command, without its model
    source: Source | None = None
    weights_gib: float | None = None

    @property
    def interval_gib(self) -> tuple[float, float] | None:
        """The KV cache predicted, from conservative to optimistic; None where there is no ledger."""
        if self.checked.plan is None:
            return None
        choice = self.checked.plan.choice
        return choice.conservative.kv_cache_bytes / GIB, choice.optimistic.kv_cache_bytes / GIB

    @property
    def is_inside(self) -> bool | None:
        """Whether the KV cache that was reported lies in the interval; None where none was reported."""
        if self.kv_cache_gib is None or self.interval_gib is None:
            return None
        low, high = self.interval_gib
        return low <= self.kv_cache_gib <= high


def _gpu(case: dict[str, Any]) -> GpuSpec | None:
    """The card by its name, else one with the total that was reported."""
    name = re.sub(r"\(.*?\)|NVIDIA|GeForce|Blackwell|\d+\s?GB\b", "", str(case.get("gpu", ""))).strip()
    total = float(case["gpu_total_gib"]) * GIB if "gpu_total_gib" in case else None
    try:
        gpu = find_gpu(name)
    except PlannerError:
        specs = [row.spec() for row in gpu_rows() if row.vendor == "nvidia"]
        gpu = min(specs, key=lambda spec: abs((spec.wsl2_total_bytes or spec.memory_bytes) - (total or 0)))
        if total is None or abs((gpu.wsl2_total_bytes or gpu.memory_bytes) - total) > 0.03 * total:
            return None
    seen = min(int(total or gpu.cuda_total_bytes), gpu.wsl2_total_bytes or gpu.memory_bytes)  # nvidia-smi's figure is not CUDA's
    free = int(float(case["free_at_start_gib"]) * GIB) if "free_at_start_gib" in case else None
    return replace(
        gpu,
        cuda_total_bytes=seen,
        cuda_total_estimated=gpu.cuda_total_estimated and total is None,
        most_total_bytes=gpu.most_total_bytes if total is None else None,
        wsl2_total_bytes=seen,
        free_at_start_bytes=free,
        wsl2_free_at_start_bytes=free,
    )


def _words(case: dict[str, Any]) -> list[str]:
    words = ["--tensor-parallel-size", str(case.get("tp", 1)), "--pipeline-parallel-size", str(case.get("pp", 1))]
    for name in FLAGS:
        if case.get(name) is not None:
            words += ["--" + name.replace("_", "-"), str(case[name]).split()[0]]
    words += ["--enforce-eager"] if case.get("enforce_eager") is True else []
    other = str(case.get("other_flags", ""))
    words += [word for word in ("--language-model-only", "--skip-mm-profiling") if word in other]
    return [*words, *_drafting(f"{other} {case['id']}")]


def _drafting(told: str) -> list[str]:
    """What a report says of its drafter: predicting layers of the target's own, or one apart that nobody here knows."""
    if "nomtp" in told or not re.search(r"spec|mtp|draft|dflash|eagle", told, re.IGNORECASE):
        return []
    count = re.search(r"(?:[kn]=|depth |mtp)(\d+)", told)
    data: dict[str, str | int] = {"method": "mtp", "num_speculative_tokens": int(count[1]) if count else 1}
    if re.search(r"external|drafter|dflash|eagle", told):
        data |= {"method": "draft_model", "model": "a drafter apart"}
    return ["--speculative-config", json.dumps(data)]


class Nothing:
    """A catalogue without drafters."""

    def find_source(self, name: str, online: str | None = None) -> Source:
        """Nothing is found. Raises PlannerError."""
        raise PlannerError(f"{name} is not known")


def _source(case: dict[str, Any]) -> Source | None:
    """The model, where its checkpoint can be described, as the catalogue would give it."""
    name = str(case.get("model", ""))
    for pattern, row, quantization in DESCRIBED:
        if match := re.match(pattern, name):
            entry = find_model(row.format(match[1].lower()))
            config = {**entry.row.config, "quantization_config": quantization or {}} if entry else {}
            return Source(name, name, build_model(Config(config, name), name), config=config) if entry else None
    entry = find_model(name) if name else None
    return Source(name, name, entry.spec(), config=entry.config) if entry else None


def reported(only: Collection[str] | None = None) -> Iterator[Reported]:
    """Every start that can be judged, or those of some names."""
    for case in yaml.safe_load(DATA.read_text()):
        if only is not None and case["id"] not in only:
            continue
        memory = case["started"] or case.get("failure_class") not in (None, NOT_MEMORY)
        if case.get("engine") != "V1" or case["quality"] not in "AB" or not memory:
            continue
        length_told = "max_model_len" in case or case.get("failure_class") in AT_ANY_LENGTH
        if not length_told and "available_kv_gib" not in case:
            continue
        gpu, source = _gpu(case), _source(case)
        if gpu is None or source is None or str(case.get("kv_cache_dtype", "auto")).split()[0] not in KV_CACHE_DTYPES:  # of somebody's own build
            continue
        version = nearest_version(str(case.get("vllm_version", ""))).name
        words = _words(case)
        values, _, faults = parse_flags(words, version)
        host = Host.WSL2 if "WSL2" in str(case.get("gpu", "")) else Host.SERVER
        group = GpuGroup(gpu=gpu, count=int(case.get("gpu_count", 1)), host=host)
        told, made = drafted(values, source, cast("Catalogue", Nothing()), version)
        unknown = (made.missing,) if made.missing else ()
        checked = check(told, faults, made.model, group, repo=str(case["model"]), argv=(), version=version, unknown=unknown)
        yield Reported(
            case["id"],
            case["started"],
            str(case.get("failure_class", "")),
            checked,
            case.get("available_kv_gib"),
            length_told,
            tuple(words),
            source,
            case.get("weights_gib"),
        )


if __name__ == "__main__":
    for row in reported():
        print(row.name, row.started, row.failure, row.checked.verdict, [p.message for p in row.checked.problems], row.interval_gib, row.kv_cache_gib)
