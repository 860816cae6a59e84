"""The 42 real starts on an H100 (vLLM 0.19) that llm-d-planner's authors published, as requests we can predict."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from planner.architecture import Config, build_model, parse_config
from planner.catalog import find_gpu, find_model
from planner.config import ServeConfig
from planner.hardware import GpuGroup
from planner.model import ModelSpec
from planner.units import GIB

DATA = Path(__file__).parent.parent / "tests" / "data"
BATCH, SEQS = 8192, 1024  # vLLM 0.19's defaults on that card
# Checkpoints of the table whose config.json is frozen under another repository of the same architecture.
SAME_ARCHITECTURE = {"mistralai/Mixtral-8x7B-Instruct-v0.1": "mistralai/Mixtral-8x7B-v0.1", "microsoft/phi-2": "made/phi2"}
W8A8 = {
    "quant_method": "compressed-tensors",
    "config_groups": {
        "g": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "int", "strategy": "channel"},
            "input_activations": {"num_bits": 8, "type": "int", "dynamic": True},
        }
    },
    "ignore": ["lm_head", "re:.*vision_tower.*", "re:.*multi_modal_projector.*"],
}


@dataclass(frozen=True, slots=True)
class Start:
    """One measured start; sizes in GiB as the table prints them."""

    name: str
    model: ModelSpec
    group: GpuGroup
    config: ServeConfig
    weights_gib: float
    activation_gib: float
    non_torch_gib: float
    graphs_gib: float
    kv_cache_gib: float
    tokens: int
    concurrency: float


def _spec(name: str, quantization: str) -> ModelSpec | None:
    repo = SAME_ARCHITECTURE.get(name, name)
    path = DATA / "configs" / f"{repo.replace('/', '--')}.json"
    if "Mistral-Small-3.1" in name:
        config = parse_config((DATA / "configs" / "mistralai--Mistral-Small-3.1-24B-Instruct-2503.json").read_bytes(), name)
        text = dict(config.section("text_config").data) | {"sliding_window": None}
        return build_model(Config({**config.data, "text_config": text, "quantization_config": W8A8}, name), name)
    if path.exists():
        return build_model(parse_config(path.read_bytes(), str(path)), name, online=quantization or None)
    entry = find_model(name)
    return entry.spec() if entry else None


def starts() -> Iterator[Start]:
    """Every start whose architecture we know."""
    for row in csv.DictReader((DATA / "vllm_0.19_h100.csv").read_text().splitlines()):
        model = _spec(row["model"], row["quantization"])
        if model is None:
            continue
        gpu = replace(find_gpu("h100"), cuda_total_bytes=int(float(row["init_total_memory_gib"]) * GIB))
        config = ServeConfig(
            tensor_parallel_size=int(row["tp"]),
            pipeline_parallel_size=int(row["pp"]),
            gpu_memory_utilization=float(row["gpu_memory_utilization"]),
            max_model_len=int(row["max_model_len"]),
            max_num_seqs=SEQS,
            max_num_batched_tokens=BATCH,
            kv_cache_dtype=row["kv_cache_dtype"],
            dtype=row["dtype"].removeprefix("torch."),
            vllm_version="0.19",
        )
        yield Start(
            name=row["model"],
            model=model,
            group=GpuGroup(gpu=gpu, count=config.parallel.world_size),
            config=config,
            weights_gib=float(row["weight_memory_gib"]),
            activation_gib=float(row["activation_memory_gib"]),
            non_torch_gib=float(row["non_torch_forward_gib"]),
            graphs_gib=float(row["cuda_graph_actual_gib"]),
            kv_cache_gib=float(row["kv_cache_memory_gib"]),
            tokens=int(row["kv_cache_tokens"]),
            concurrency=float(row["max_concurrency"]),
        )
