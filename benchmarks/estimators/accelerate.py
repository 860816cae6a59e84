"""Accelerate: `accelerate estimate-memory`."""

import re

from benchmarks.estimators import Answer, Question, Tool

DTYPES = {32: "float32", 16: "float16", 8: "int8", 4: "int4"}


def words(question: Question) -> list[str] | None:
    """It builds the model on the meta device; the dtype is a person's to say."""
    if question.gpus > 1 or question.bits not in DTYPES:
        return None
    return ["accelerate", "estimate-memory", question.repo, "--library_name", "transformers", "--dtypes", DTYPES[question.bits]]


def read(text: str, _code: int, question: Question) -> Answer:
    """The total of its table."""
    row = re.search(rf"{DTYPES[question.bits]}\s*\W\s*([\d.]+) (GB|MB)\s*\W\s*([\d.]+) (GB|MB)", text)
    return Answer() if row is None else Answer(weights_gib=float(row[3]) / (1 if row[4] == "GB" else 1024))


TOOL = Tool(
    name="accelerate",
    package="accelerate",
    version="1.15.0",
    also=("transformers", "torch"),
    words=words,
    read=read,
    claims="weights in a dtype that is asked for, without an output matrix of its own (it builds AutoModel); no cache, no GPU, no verdict",
)
