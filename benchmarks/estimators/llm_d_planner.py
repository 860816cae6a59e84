"""llm-d-planner: `planner plan`."""

import json

from benchmarks.estimators import Answer, Question, Tool
from planner.catalogue.load import find_gpu
from planner.units import GIB


def words(question: Question) -> list[str]:
    """Its capacity plan; it takes whole gigabytes, as a card is sold."""
    parallel = ["--tp", str(question.tp), "--pp", str(question.pp)]
    sizes = [
        "--gpu-memory",
        str(round(find_gpu(question.gpu).memory_bytes / GIB)),
        "--gpu-mem-util",
        f"{question.utilization:g}",
        "--max-model-len",
        str(question.max_model_len),
    ]
    return ["planner", "plan", "--model", question.repo, *parallel, *sizes]


def read(text: str, _code: int, question: Question) -> Answer:
    """The allocatable cache is that of all GPUs; a request of full length has to fit."""
    data = json.loads(text[text.index("{") :])
    return Answer(data["per_gpu_model_memory_gb"], data["allocatable_kv_cache_memory_gb"] / question.gpus, data["max_concurrent_requests"] >= 1)


TOOL = Tool(
    name="llm-d-planner",
    package="llm-d-planner",
    version="0.3.3",
    also=("llm-d-planner[estimation]==0.3.3",),
    words=words,
    read=read,
    claims="weights, allocatable KV cache, requests at once; whole gigabytes of a card, no flag for the dtype of the cache",
)
