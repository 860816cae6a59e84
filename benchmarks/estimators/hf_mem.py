"""hf-mem: `hf-mem --model-id`, without its experimental cache, which is that of one sequence."""

import json

from benchmarks.estimators import Answer, Question, Tool
from planner.units import GIB


def words(question: Question) -> list[str] | None:
    """It knows one device."""
    if question.gpus > 1:
        return None
    return ["hf-mem", "--model-id", question.repo, "--json-output"]


def read(text: str, _code: int, _question: Question) -> Answer:
    """The weights."""
    return Answer(weights_gib=json.loads(text)["memory"] / GIB)


TOOL = Tool(
    name="hf-mem",
    package="hf-mem",
    version="0.5.6",
    words=words,
    read=read,
    claims="weights, and the KV cache of one sequence; no GPU, so no pool and no verdict",
)
