"""What the public API costs: seconds of `import planner` in a new process, and of warm calls. `python -m benchmarks.api`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import planner

IMPORT = "import time; start = time.perf_counter(); import planner; print(time.perf_counter() - start)"
CALLS: dict[str, Callable[[], object]] = {
    "plan": lambda: planner.plan(model="qwen3-vl-32b-awq", gpu="rtx4090", count=2, context="128k").to_dict(),
    "check": lambda: planner.check("vllm serve Qwen/Qwen3-8B --max-model-len 8192", gpu="rtx4090").to_dict(),
    "explain": lambda: planner.explain("torch.OutOfMemoryError: CUDA out of memory", gpu="rtx4090", model="qwen3-8b").to_dict(),
}
BOUNDS_MS = {"import planner": 60.0, "plan": 50.0, "check": 50.0, "explain": 50.0}


def milliseconds(call: Callable[[], object], times: int = 20) -> float:
    """The median of warm calls."""
    call()
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        spans.append(time.perf_counter() - start)
    return 1000 * statistics.median(spans)


def imported(times: int = 10) -> float:
    """The median of new processes, without the start of Python."""
    runs = [subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True).stdout for _ in range(times)]
    return 1000 * statistics.median(map(float, runs))


def main() -> int:
    """Print each; the exit code: 1 where one is beyond its bound."""
    spent = {"import planner": imported()} | {name: milliseconds(call) for name, call in CALLS.items()}
    for name, span in spent.items():
        print(f"{name:15} {span:6.1f} ms, at most {BOUNDS_MS[name]:g}")
    return int(any(span > BOUNDS_MS[name] for name, span in spent.items()))


if __name__ == "__main__":
    sys.exit(main())
