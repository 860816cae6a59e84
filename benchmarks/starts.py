"""The 42 real starts on an H100 (vLLM 0.19) that llm-d-planner's authors published, as requests we can predict."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from planner.catalogue.load import find_gpu, find_model
from planner.engines.vllm.settings import ServeConfig
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec
from planner.units import GIB

DATA = Path(__file__).parent.parent / "tests" / "data"
BATCH, SEQS = 8192, 1024  # vLLM 0.19's defaults on that card


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


def starts() -> Iterator[Start]:
    """Every start, of models that are all in the catalogue."""
    for row in csv.DictReader((DATA / "vllm_0.19_h100.csv").read_text().splitlines()):
        entry = find_model(row["model"])
        if entry is None:
            raise LookupError(f"{row['model']} is not in models.yaml")
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
            model=entry.spec(row["quantization"] or None),
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
