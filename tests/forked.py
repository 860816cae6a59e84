"""The command line in forked children of one process that has imported it: milliseconds each, with its time, memory and streams told.

`Forks()` starts that process; run as a program this file is it. A child is what a new process of `python -m planner` would be, but for the imports
of its door and of libraries: it has its own folder, environment and streams, and keeps nothing for the next. Where its time is `judged`, no child
outlives SECONDS of CPU or takes more memory than MOST_BYTES of addresses; any other has PATIENCE_S. What a command imports and in which order is for
the tests that start it as a terminal does (test_docs.py, test_structure.py, cli/test_streams.py).
"""

from __future__ import annotations

import atexit
import gc
import io
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from threading import Lock
from typing import Any

SECONDS = 10
MOST_BYTES = 3 << 30
PATIENCE_S = 120
EARLY = ("PYTHON", "LC_", "LANG", "LD_", "TZ")  # what begins so is read when a process starts: a fork of one that runs would not see it

OTHERS = ("filelock", "httpx2", "jinja2", "numpy", "pydantic.main", "rich.table", "tqdm.auto", "yaml")  # slow imports of several commands, of others


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of one command: the code is negative where a signal ended it."""

    code: int
    seconds: float
    megabytes: float
    out: str
    err: str


class Forks:
    """The process that forks."""

    def __init__(self, *, judged: bool) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._judged, self._free = judged, Lock()
        command = [sys.executable, __file__, *(["judged"] if judged else [])]
        counted = {name: value for name, value in os.environ.items() if not (judged and name.startswith("COV"))}  # counting lines takes time, and it is judged
        self._early = early(counted)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self._folder.name, env=counted)

    def run(self, *arguments: str, cwd: Path, stdin: bytes = b"", program: str = "", **environment: str) -> Done:
        """Run the command line, or a program of Python in its place, with these variables too."""
        done = self._done(arguments, cwd, {**os.environ, **environment}, stdin, program)
        return Done(**done, **{name: self.stream(name).decode(errors="surrogateescape") for name in ("out", "err")})

    def completed(self, *arguments: str, cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str] | None:
        """Run the command line as `subprocess.run` would, with nothing but these variables; None where only a new process can: one at a time, and Python has started."""
        if early(environment) != self._early or not self._free.acquire(blocking=False):
            return None
        try:
            code = self._done(arguments, cwd, environment)["code"]
            out, err = (io.TextIOWrapper(io.BytesIO(self.stream(name))).read() for name in ("out", "err"))
        finally:
            self._free.release()
        if code == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(["plan", *arguments], PATIENCE_S, out, err)
        return subprocess.CompletedProcess(["plan", *arguments], code, out, err)

    def stream(self, name: str) -> bytes:
        """What the last command wrote."""
        return (Path(self._folder.name) / name).read_bytes()

    def _done(self, arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], stdin: bytes = b"", program: str = "") -> dict[str, Any]:
        for name in ("in", "out", "err"):  # new files: what the last command left behind may still write to its own
            (Path(self._folder.name) / name).unlink(missing_ok=True)
        (Path(self._folder.name) / "in").write_bytes(stdin)
        asked = {"arguments": arguments, "cwd": str(cwd), "environment": environment, "program": program, "judged": self._judged}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._folder.cleanup()


@cache
def forks() -> Forks:
    """The process that forks commands for the tests of this one."""
    made = Forks(judged=False)
    atexit.register(made.close)
    return made


def early(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that count when a process starts."""
    return {name: value for name, value in environment.items() if name.startswith(EARLY)}


def _child(asked: dict) -> None:
    """Become the process that was asked for; what ends it ends it as it would any."""
    for name, number, flags in (("in", 0, os.O_RDONLY), ("out", 1, os.O_WRONLY | os.O_CREAT), ("err", 2, os.O_WRONLY | os.O_CREAT)):
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors, closefd=False)  # noqa: SIM115 - the old one has read from another file
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ |= asked["environment"]
    signal.alarm(PATIENCE_S)
    if asked["judged"]:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    sys.path[0] = asked["cwd"]
    sys.argv = ["plan", *asked["arguments"]]
    if asked["program"]:
        exec(asked["program"], {"__name__": "__main__"})  # noqa: S102 - a test's own
    else:
        runpy.run_module("planner", run_name="__main__", alter_sys=True)


def _serve() -> None:
    import planner.cli.main
    from planner.engines import ENGINES

    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process with threads does not fork well
    dict(ENGINES)
    for name in (*OTHERS, *(f"planner.cli.{each.name}" for each in iter_modules(planner.cli.__path__))):  # the doors of all commands
        with suppress(ImportError):
            import_module(name)
    if "judged" in sys.argv:  # the sums are judged, not what is read first
        from planner.catalogue.load import find_gpu, find_model

        find_gpu("rtx4090"), find_model("qwen3-8b").spec()
    gc.freeze()
    while line := sys.stdin.readline():
        asked = json.loads(line)
        sys.stdout.flush()
        if not (pid := os.fork()):
            _child(asked)
            return
        _, status, used = os.wait4(pid, 0)
        own = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6 if Path("/proc/self/statm").exists() else 0
        told = {"code": os.waitstatus_to_exitcode(status), "seconds": used.ru_utime + used.ru_stime, "megabytes": used.ru_maxrss / 1e3 - own}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    _serve()
