"""modelinfo-cli: `modelinfo --vllm`."""

import re

from benchmarks.estimators import Answer, Question, Tool

GPUS = {"h100": "H100", "rtx4090": "RTX4090", "rtx3090": "RTX3090", "rtx5090": "RTX5090", "l40s": "L40S", "a10g": "A10G"}
_SIZE = {
    "weights": re.compile(r"Static Weights:\s*-\s*([\d.,]+) (GB|MB)"),
    "pool": re.compile(r"Paged KV Pool:\s*=\s*(-?[\d.,]+) (GB|MB)"),
}


def words(question: Question) -> list[str] | None:
    """It has no flag for several GPUs."""
    if question.gpus > 1:
        return None
    gpu = GPUS.get(question.gpu, question.gpu.upper())
    return ["modelinfo", question.repo, "--vllm", "--gpu", gpu, "--gpu-util", f"{question.utilization:g}", "--context", str(question.max_model_len)]


def read(text: str, _code: int, _question: Question) -> Answer:
    """Its table; what it calls GB is 1,024 MB."""
    sizes = {name: match for name, pattern in _SIZE.items() if (match := pattern.search(text))}
    gib = {name: float(match[1].replace(",", "")) / (1 if match[2] == "GB" else 1024) for name, match in sizes.items()}
    fit = re.search(r"Hardware Fit:\s*(\S)\s*(Yes|No)", text)
    return Answer(gib.get("weights"), gib.get("pool"), fit[2] == "Yes" if fit else None)


TOOL = Tool(
    name="modelinfo", package="modelinfo-cli", version="1.4.4", words=words, read=read, claims="weights, a pool for the cache, a verdict; one GPU of its table"
)
