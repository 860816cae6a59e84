"""ridgepoint: `ridgepoint fit`."""

import json

from benchmarks.estimators import Answer, Question, Tool
from planner.units import GIB

GPUS = {
    "h100": "h100-80gb", "h200": "h200-141gb", "b200": "b200-192gb", "a100-80gb": "a100-80gb", "a100-40gb": "a100-40gb", "l40s": "l40s-48gb", "mi300x": "mi300x-192gb",
    "rtx3090": "rtx3090-24gb", "rtx4090": "rtx4090-24gb", "rtx5090": "rtx5090-32gb",
}  # fmt: skip
UTILIZATION = 0.9  # its own, for which there is no flag


def words(question: Question) -> list[str] | None:
    """For the GPUs of its table."""
    if question.gpu not in GPUS:
        return None
    dtype = {4: "awq", 8: "fp8"}.get(question.bits, "bf16")
    cache = ["--kv-cache-dtype", "fp8"] if question.kv_bits == 8 else []
    gpu = f"{GPUS[question.gpu]}:{question.gpus}"
    return ["ridgepoint", "fit", question.repo, "--gpu", gpu, "--ctx", str(question.max_model_len), "--dtype", dtype, "--json", *cache]


def read(text: str, _code: int, question: Question) -> Answer:
    """Sizes of all GPUs. What another utilization than its own gives or takes is added in its favour."""
    data = json.loads(text)
    memory, gpus = data["memory"], question.gpus
    pool = memory["kv_pool_bytes"]["best"] / GIB / gpus + (question.utilization - UTILIZATION) * question.total_gib
    return Answer(memory["weights_bytes"]["best"] / GIB / gpus, pool, data["verdict"]["serves"])


TOOL = Tool(
    name="ridgepoint",
    package="ridgepoint",
    version="0.1.2",
    words=words,
    read=read,
    claims="weights, the cache's pool, sequences, a verdict; ten GPUs, a utilization of 0.90 (the difference is added in its favour)",
)
