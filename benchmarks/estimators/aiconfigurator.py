"""aiconfigurator: the memory of its estimate, by its Python call; AISimulate, which follows it, has the same."""

import json

from benchmarks.estimators import Answer, Question, Tool

GPUS = {"h100": "h100_sxm", "h200": "h200_sxm", "a100-80gb": "a100_sxm", "l40s": "l40s", "b200": "b200_sxm", "gb200": "gb200"}
CODE = """
import json, logging, sys
logging.disable(logging.CRITICAL)
from aiconfigurator.cli.api import cli_estimate
model, system, half, tp, pp = sys.argv[1:]
found = cli_estimate(model, system, backend_name="vllm", isl=int(half), osl=int(half), batch_size=1, tp_size=int(tp), pp_size=int(pp))
print(json.dumps({"memory": float(found.memory), "warning": found.kv_cache_warning}))
"""


def words(question: Question) -> list[str] | None:
    """One sequence of the full length: half prompt, half answer."""
    if question.gpu not in GPUS:
        return None
    return ["python", "-c", CODE, question.repo, GPUS[question.gpu], str(question.max_model_len // 2), str(question.tp), str(question.pp)]


def read(text: str, _code: int, question: Question) -> Answer:
    """Its memory is one sum; the server may take what the utilization says."""
    data = json.loads(text[text.index('{"memory"') :])
    return Answer(starts=data["memory"] <= question.total_gib * question.utilization and not data["warning"])


TOOL = Tool(
    name="aiconfigurator",
    package="aiconfigurator",
    version="0.12.0",
    words=words,
    read=read,
    claims="one sum for a batch, weights and cache not apart; data-centre GPUs; made for speed",
)
