"""Memory estimators on frozen starts, in one run: `python -m benchmarks.scoreboard` asks every tool and writes tests/data/scoreboard.json and docs/scoreboard.md.

Each tool is its real package in an environment of its own, one process a question, led to a Hub on this machine (benchmarks.estimators). A question that
fails or takes too long has no answer, and why; so have those of a tool that cannot be installed. `--page` writes the page from what was measured last.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from benchmarks.estimators import Answer, Question, Tool
from benchmarks.estimators.hub import served
from benchmarks.estimators.left_out import left_out
from benchmarks.estimators.page import page
from benchmarks.estimators.questions import frozen

ROOT = Path(__file__).parent.parent
DATA, PAGE = ROOT / "tests" / "data" / "scoreboard.json", ROOT / "docs" / "scoreboard.md"
TOOLS = ("ours", "llm_d_planner", "ridgepoint", "vramscout", "modelinfo", "llmfit", "hf_mem", "accelerate", "aiconfigurator")
SECONDS = 120  # that a question may take
TOOL_SECONDS = 900  # and all of a tool's: those that it has not begun by then have no answer
AT_ONCE = 4  # what is told is each process's own processor time
KEPT = ("id", "group", "repo", "gpu", "gpus", "started", "weights_gib", "kv_gib")  # of a question, in what is written
NOT_ASKED = {
    "AISimulate 0.13.0": "what PyPI has of this release fetches the wheel from another index, out of reach here; aiconfigurator, which it follows, is asked",
    "hf-vram-calc 1.0.9": "its process did not end within a minute with the Hub that stands in",
    "llm-mem-planner 0.2.2": "models with latent attention only",
    "llm-resource-planner 0.2.0": "no flag for a length, a utilization or an engine",
    "servcalc 0.1.0": "users and speed at a load: no flag for a length with vLLM, a utilization or several GPUs",
    "vramcalc 0.1.2": "from config.json, five dense families; no checkpoint's format, no engine",
    "chimeraforge 0.76.0": "one size for a load and a configuration of its own choice, no weights or cache of a server apart",
    "workingset 0.2.0, llm-sizer 0.1.0": "lists of their own models",
    "gpu-memory-guard 0.1.1": "it is told the size of the model",
}


def tools() -> list[Tool]:
    """Every adapter's tool, ours first."""
    return [import_module(f"benchmarks.estimators.{name}").TOOL for name in TOOLS]


@dataclass(frozen=True, slots=True)
class Run:
    """One process: what it printed, and what it took."""

    text: str
    errors: str
    code: int
    took: Mapping[str, float]
    late: bool
    """Whether it had to be ended."""


def ran(tool: Tool, words: Sequence[str], env: Mapping[str, str]) -> Run:
    """Run a tool's command, ended with all that it started after SECONDS."""
    argv = [sys.executable, "-m", "planner", *words[1:]] if tool.name == "plan" else [str(tool.programs / words[0]), *words[1:]]
    ours = {"PYTHONPATH": str(ROOT)} if tool.name == "plan" else {}  # a package of theirs has the name of ours
    late = threading.Event()
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        begun = time.perf_counter()
        process = subprocess.Popen(argv, stdout=out, stderr=err, env={**env, **ours}, stdin=subprocess.DEVNULL, start_new_session=True)

        def end() -> None:
            late.set()
            with suppress(ProcessLookupError):  # it ended by itself meanwhile
                os.killpg(process.pid, signal.SIGKILL)

        alarm = threading.Timer(SECONDS, end)
        alarm.start()
        _, status, used = os.wait4(process.pid, 0)  # its own processor time, whatever else runs beside it
        alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        took = {"seconds": round(time.perf_counter() - begun, 2), "processor_seconds": round(used.ru_utime + used.ru_stime, 2)}
        out.seek(0)
        err.seek(0)
        return Run(out.read(), err.read(), process.returncode, took, late=late.is_set())


def answer(tool: Tool, run: Run, question: Question) -> dict[str, Any]:
    """What a tool said to a question and what that took, or why it said nothing."""
    if run.late:
        return {"refused": f"no answer within {SECONDS} s", **run.took}
    try:
        said = tool.read(run.text, run.code, question)
    except (ValueError, KeyError, TypeError, StopIteration, IndexError):
        words = (run.errors.strip() or run.text.strip() or f"exit code {run.code}").splitlines()
        return {"refused": words[-1][:300], **run.took}
    if said == Answer():
        return {"refused": "no size and no verdict in what it printed", **run.took}
    sizes = {"weights_gib": said.weights_gib, "kv_gib": said.kv_gib}
    return {name: None if size is None else round(size, 4) for name, size in sizes.items()} | {"starts": said.starts, **run.took}


def asked(tool: Tool, questions: Sequence[Question], env: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """A tool's answers by question, some processes at once. What is asked in the same words is asked once."""
    words = {question.id: tool.words(question) for question in questions}
    different = {json.dumps(said): said for said in words.values() if said is not None}
    why_not = _why_not(tool)
    last = time.monotonic() + TOOL_SECONDS

    def run(told: str) -> Run | str:
        if why_not or time.monotonic() > last:
            return why_not or f"not begun: the tool's {TOOL_SECONDS} s were over"
        try:
            done = ran(tool, different[told], env)
        except OSError as error:
            return f"not begun: {error.strerror}"
        print(f"  {tool.name}: {next(name for name, said in words.items() if said == different[told])} {done.took['seconds']} s", file=sys.stderr, flush=True)
        return done

    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = dict(zip(different, pool.map(run, different), strict=True))

    def said(question: Question) -> dict[str, Any]:
        if words[question.id] is None:
            return {"not_asked": True}
        done = runs[json.dumps(words[question.id])]
        return {"refused": done} if isinstance(done, str) else answer(tool, done, question)

    return {question.id: said(question) for question in questions}


def _why_not(tool: Tool) -> str | None:
    """Why a tool cannot be asked at all."""
    try:
        if tool.name != "plan":
            tool.install()
    except subprocess.SubprocessError as error:
        return f"not installed: {type(error).__name__}"
    return None


def answers(questions: Sequence[Question], env: Mapping[str, str], only: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each tool's answers by question."""
    for tool in tools():
        if only not in (None, tool.name):
            continue
        begun = time.monotonic()
        found = asked(tool, questions, env)
        print(tool.name, sum("starts" in said for said in found.values()), "of", len(found), f"in {time.monotonic() - begun:.0f} s", flush=True)
        yield tool.name, found


def assembled(data: dict[str, Any]) -> dict[str, Any]:
    """What was measured, with the tools as the page names them: those that were asked, and why others were not."""
    there = [tool for tool in tools() if tool.name in data["answers"]]
    left = {f"{tool.name} {tool.version}": "it has an adapter, and was not asked yet (`--only`)" for tool in tools() if tool not in there}
    described = [{"name": tool.name, "package": tool.package, "version": tool.version, "claims": tool.claims} for tool in there]
    return {**data, "tools": described, "answers": {tool.name: data["answers"][tool.name] for tool in there}, "not_asked": left | NOT_ASKED}


def measured(only: str | None = None) -> dict[str, Any]:
    """Ask every tool, or one again where all were asked before; what they said, with versions and the day."""
    pairs = list(frozen())
    questions = [question for question, _ in pairs]
    with served({question.repo: repository for question, repository in pairs}) as led:
        env = {"PATH": os.defpath, "LANG": "C.UTF-8", "COLUMNS": "160", **led}
        said = dict(answers(questions, env, only))
    if only:
        kept = json.loads(DATA.read_text())
        if [question["id"] for question in kept["questions"]] != [question.id for question in questions]:
            raise LookupError("the questions are others than those of the last run: ask every tool")
        return assembled({**kept, "answers": {**kept["answers"], **said}})
    return assembled(
        {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{os.cpu_count()} cores, Python {sys.version.partition(' ')[0]}",
            "questions": [{name: getattr(question, name) for name in KEPT} for question in questions],
            "answers": said,
            "left_out": left_out(questions),
        }
    )


def main() -> None:
    """Measure, or write the page again."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--page", action="store_true", help="write the page from what was measured last")
    options.add_argument("--only", metavar="TOOL", help="ask one tool again, on the questions of the last run")
    given = options.parse_args()
    data = assembled(json.loads(DATA.read_text())) if given.page else measured(given.only)
    DATA.write_text(json.dumps(data, indent=1) + "\n")
    PAGE.write_text(page(data))
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
