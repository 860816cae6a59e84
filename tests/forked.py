"""The command line in forked children of one process that has imported it: milliseconds each, with its time, memory and streams told.

`Forks()` starts that process; run as a program this file is it. No child outlives SECONDS, and none takes more memory than MOST_BYTES of addresses.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SECONDS = 10
MOST_BYTES = 3 << 30


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

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        command = [sys.executable, __file__]
        plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # counting lines takes the time that is judged here
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self._folder.name, env=plain)

    def run(self, *arguments: str, cwd: Path, stdin: bytes = b"", program: str = "", **environment: str) -> Done:
        """Run the command line, or a program of Python in its place."""
        place = Path(self._folder.name)
        (place / "in").write_bytes(stdin)
        asked = {"arguments": arguments, "cwd": str(cwd), "environment": environment, "program": program}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        streams = {name: (place / name).read_bytes().decode(errors="surrogateescape") for name in ("out", "err")}
        return Done(**told, **streams)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._folder.cleanup()


def _child(asked: dict) -> None:
    for name, number, flags in (("in", 0, os.O_RDONLY), ("out", 1, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), ("err", 2, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
        os.dup2(os.open(name, flags, 0o600), number)
    os.chdir(asked["cwd"])
    os.environ |= asked["environment"]
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    signal.alarm(6 * SECONDS)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        setattr(sys, name, open(number, mode, encoding="utf-8", errors="strict" if mode == "r" else "backslashreplace", closefd=False))  # noqa: SIM115
    code = 0
    try:
        if asked["program"]:
            exec(asked["program"], {})  # noqa: S102 - a test's own
        else:
            from planner.cli.main import main

            sys.argv = ["plan", *asked["arguments"]]
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 70
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _serve() -> None:
    from planner.catalogue.load import find_gpu, find_model
    from planner.engines import ENGINES

    find_gpu("rtx4090"), find_model("qwen3-8b").spec(), dict(ENGINES)
    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.flush()
        if not (pid := os.fork()):
            _child(asked)
        _, status, used = os.wait4(pid, 0)
        own = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6 if Path("/proc/self/statm").exists() else 0
        told = {"code": os.waitstatus_to_exitcode(status), "seconds": used.ru_utime + used.ru_stime, "megabytes": used.ru_maxrss / 1e3 - own}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    _serve()
