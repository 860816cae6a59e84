"""Start time and memory of the main command, beside what three libraries cost to import, in one run: `python -m benchmarks.start`.

Prints medians of interleaved runs in CPU seconds, user and system: Python alone, click alone, the libraries, the command from cold start to exit.
"""

from __future__ import annotations

import compileall
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import planner

MAIN = [sys.executable, "-m", "planner", "--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq"]
COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import click": [sys.executable, "-c", "import click"],
    "import pydantic, yaml, rich": [sys.executable, "-c", "import pydantic, yaml, rich"],
    "plan": MAIN,
    "plan --format json": [*MAIN, "--format", "json"],
}
BESIDE = "import pydantic, yaml, rich"


def cpu_seconds(command: list[str], folder: str) -> float:
    """CPU time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(runs: int = 15) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        compileall.compile_dir(str(Path(planner.__file__).parent), quiet=1)  # as pip does when it installs a wheel
        for command in COMMANDS.values():
            cpu_seconds(command, folder)
        taken = [{name: cpu_seconds(command, folder) for name, command in COMMANDS.items()} for _ in range(runs)]
    medians = {name: statistics.median(run[name] for run in taken) for name in COMMANDS}
    for name, seconds in medians.items():
        print(f"{name}: {seconds * 1000:.0f} ms, {seconds / medians[BESIDE]:.2f} times {BESIDE}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
