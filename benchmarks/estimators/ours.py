"""This planner: `plan check` of the start's command, as shipped."""

import json

from benchmarks.estimators import Answer, Question, Tool
from planner.facts.verdict import Verdict
from planner.units import GIB
from planner.version import VERSION


def words(question: Question) -> list[str]:
    """The command itself, on the machine that the log tells of."""
    free = ["--free-gib", f"{question.free_gib:g}"] if question.free_gib is not None else []
    machine = ["--gpu", question.gpu, "--count", str(question.count), "--host", question.host, "--total-gib", f"{question.total_gib:g}", *free]
    return ["plan", "check", "--format", "json", "--vllm-version", question.vllm_version, *machine, "--", "vllm", "serve", question.repo, *question.flags]


def read(text: str, _code: int, _question: Question) -> Answer:
    """What it expects; `unknown` is no verdict."""
    data = json.loads(text)
    memory, verdict = data["memory"], Verdict(data["verdict"])
    starts = None if verdict is Verdict.UNKNOWN else not verdict.falls_short
    return Answer((memory["weights_bytes"] + memory["buffers_bytes"]) / GIB, memory["kv_cache_bytes"] / GIB, starts) if memory else Answer(starts=starts)


TOOL = Tool(name="plan", package="serve-plan", version=VERSION, words=words, read=read, claims="weights, KV cache with an interval, a verdict of five kinds")
