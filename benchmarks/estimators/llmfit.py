"""llmfit: `llmfit concurrency`, for the models of its database."""

import json

from benchmarks.estimators import Answer, Question, Tool
from planner.units import GIB

GB = 10**9


def words(question: Question) -> list[str] | None:
    """One pool of memory: what the utilization leaves of the GPU, in its decimal gigabytes."""
    if question.gpus > 1:
        return None
    pool = question.total_gib * question.utilization * GIB / GB
    form = ["--quant", "BF16"] if question.bits == 16 else []
    cache = ["--kv-quant", "fp8"] if question.kv_bits == 8 else []
    return ["llmfit", "--memory", f"{pool:.2f}G", "concurrency", question.repo, "--context", str(question.max_model_len), "--json", *form, *cache]


def read(text: str, _code: int, _question: Question) -> Answer:
    """Weights with its fixed overhead, the budget of the cache, and whether one session fits."""
    data = json.loads(text)["estimate"]
    return Answer(data["weights_resident_gb"] * GB / GIB, data["kv_budget_gb"] * GB / GIB, data["ladder"][0]["max_sessions"] >= 1)


TOOL = Tool(
    name="llmfit",
    package="llmfit",
    version="1.1.17",
    words=words,
    read=read,
    claims="weights with a fixed overhead, a budget for the cache, sessions; models of its database, one pool of memory",
)
