"""Start time and memory of the main command, beside what its libraries cost to import, in one run: `python -m benchmarks.start`.

Prints the median of interleaved runs: the command from cold start to exit, and `import pydantic, yaml, rich` alone.
"""

from __future__ import annotations

import compileall
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import planner

COMMAND = [sys.executable, "-m", "planner", "--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq"]
IMPORTS = [sys.executable, "-c", "import pydantic, yaml, rich, rich.console, rich.table, rich.text\nclass M(pydantic.BaseModel): x: int"]


def seconds(command: list[str], folder: str) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(runs: int = 15) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        compileall.compile_dir(str(Path(planner.__file__).parent), quiet=1)  # as pip does when it installs a wheel
        seconds(COMMAND, folder), seconds(IMPORTS, folder)
        pairs = [(seconds(COMMAND, folder), seconds(IMPORTS, folder)) for _ in range(runs)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"plan: {ours * 1000:.0f} ms, imports alone: {theirs * 1000:.0f} ms, ratio {ours / theirs:.2f}, peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
