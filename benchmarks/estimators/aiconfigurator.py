"""aiconfigurator: the KV cache's estimate of its core, `estimate_kv_cache`, by its Python call; the command line says one sum of a batch alone."""

import json

from benchmarks.estimators import Answer, Question, Tool
from planner.units import GIB

GPUS = {
    "h100": "h100_sxm", "h200": "h200_sxm", "a100-80gb": "a100_sxm", "a100-40gb": "a100_sxm", "l40s": "l40s", "b200": "b200_sxm", "b300": "b300_sxm", "gb200": "gb200", "gb300": "gb300", "rtxpro6000": "rtx_pro_6000_server",
}  # fmt: skip
"""Those that it has tables of vLLM for; the size of a card's memory is said apart."""
CODE = """
import json, logging, sys
logging.disable(logging.CRITICAL)
from aiconfigurator_core.sdk import estimate_kv_cache
from aiconfigurator_core.sdk.perf_database import get_latest_database_version
asked = json.loads(sys.argv[1])
version = get_latest_database_version(system=asked["system"], backend="vllm")
try:
    found = estimate_kv_cache(backend="vllm", backend_version=version, memory_fraction_kind="of_total", **asked)
except ValueError as error:
    if "no KV budget" not in str(error):
        raise
    found = None
print(json.dumps({"found": found}))
"""


def words(question: Question) -> list[str] | None:
    """With what vLLM is told; the whole memory is that of the log. It knows no weights of 32 bits."""
    if question.gpu not in GPUS or question.bits > 16:
        return None
    asked = {
        "model_path": question.repo,
        "system": GPUS[question.gpu],
        "max_num_tokens": question.max_num_batched_tokens,
        "max_batch_size": question.max_num_seqs,
        "memory_fraction_value": question.utilization,
        "tp_size": question.tp,
        "pp_size": question.pp,
        "moe_ep_size" if "--enable-expert-parallel" in question.flags else "moe_tp_size": question.tp,
        "kvcache_quant_mode": "fp8" if question.kv_bits == 8 else None,
        "gpu_memory_capacity_bytes_override": round(question.total_gib * GIB),
    }
    return ["python", "-c", CODE, json.dumps(asked)]


def read(text: str, _code: int, question: Question) -> Answer:
    """Of each GPU; a sequence of full length has to fit."""
    found = json.loads(text[text.index('{"found"') :])["found"]
    if found is None:
        return Answer(starts=False)
    weights, cache = found["memory_breakdown"]["weights_bytes"], found["total_kv_size_bytes"]
    return Answer(weights / GIB, cache / GIB, found["total_kv_size_tokens"] >= question.max_model_len)


TOOL = Tool(
    name="aiconfigurator",
    package="aiconfigurator",
    version="0.12.0",
    words=words,
    read=read,
    claims="weights, KV cache and its tokens, activations, a fixed reserve; GPUs and architectures that it has kernels for; made for speed",
)
