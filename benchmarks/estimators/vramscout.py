"""vramscout: its preflight in vLLM's mode."""

import json

from benchmarks.estimators import Answer, Question, Tool


def words(question: Question) -> list[str] | None:
    """It has no pipelines."""
    if question.pp > 1:
        return None
    cache = ["--kv-dtype", "fp8"] if question.kv_bits == 8 else []
    sizes = ["--vram-gib", f"{question.total_gib:g}", "--gpu-memory-utilization", f"{question.utilization:g}", "--context", str(question.max_model_len)]
    return ["vramscout", question.repo, "--json", "--engine", "vllm", "--tp", str(question.tp), *sizes, *cache]


def read(text: str, _code: int, _question: Question) -> Answer:
    """What is spare is for the cache, beside that of the context asked for."""
    data = json.loads(text)
    parts = data["parts_gib"]
    kept = sum(size for name, size in parts.items() if name.startswith(("KV", "Cache", "Attention", "Recurrent", "Indexer")))
    return Answer(next(size for name, size in parts.items() if "weights" in name), kept + data["spare_gib"], data["fits"])


TOOL = Tool(
    name="vramscout", package="vramscout", version="0.7.0", words=words, read=read, claims="weights, cache of a context, what is spare, a verdict; no pipelines"
)
