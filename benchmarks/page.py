"""How fast the page answers a keystroke: `python -m benchmarks.page` starts `plan web` and lets 20 people type at once.

Each types models, contexts and users of their own, a key every 150 ms (a quick typist), so that most answers are computed and few are
remembered. Prints the median and the 95th percentile of the time to the whole answer, and that of a single person. Then 200 people ask
for a minute, each a new question every two seconds: the same figures, faults, and the memory of the servers before and after.
"""

from __future__ import annotations

import http.client
import math
import random
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from planner.catalogue.load import Entry, gpu_rows, model_rows

CLIENTS, KEYS, PAUSE_S = 20, 60, 0.15
CROWD, CROWD_KEYS, CROWD_PAUSE_S = 200, 30, 2.0


def keystrokes(seed: int) -> Iterator[dict[str, str]]:
    """States as somebody types: a model's name, then a context, then users, then the next model."""
    rng = random.Random(seed)
    gpus = [row.name for row in gpu_rows() if row.vendor == "nvidia"]
    models = [Entry(row, variant).name for row in model_rows() for variant in row.variants if variant.is_listed and row.parameters < 80e9]
    while True:
        state = {
            "gpu": rng.choice(gpus),
            "count": str(rng.choice([1, 2, 4, 8])),
            "model": rng.choice(models),
            "context": "",
            "users": "",
            "host": "server",
            "engine": "",
        }
        name = state["model"]
        for length in range(max(1, len(name) - 3), len(name) + 1):
            yield state | {"model": name[:length]}
        for field, text in (("context", f"{rng.randint(2, 39)}k"), ("users", str(rng.randint(2, 99)))):
            for length in range(1, len(text) + 1):
                state |= {field: text[:length]}
                yield dict(state)


def type_at(port: int, seed: int, keys: int, pause_s: float, times_s: list[float]) -> None:
    """One person; a fault counts as an answer that never came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    rng = random.Random(seed)
    time.sleep(rng.uniform(0, pause_s))
    for state, _ in zip(keystrokes(seed), range(keys), strict=False):
        start = time.perf_counter()
        try:
            connection.request("GET", f"/answer/plan?{urlencode(state)}")
            response = connection.getresponse()
            response.read()
            times_s.append(time.perf_counter() - start if response.status == 200 else math.inf)
        except OSError:
            times_s.append(math.inf)
            connection.close()
        time.sleep(rng.uniform(0.5, 1.5) * pause_s)


def measure(port: int, clients: int, seed: int, keys: int = KEYS, pause_s: float = PAUSE_S) -> list[float]:
    """Seconds of every answer while so many type."""
    times_s: list[float] = []
    threads = [threading.Thread(target=type_at, args=(port, seed + number, keys, pause_s, times_s)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(times_s)


def resident_mib(pid: int) -> float:
    """Memory of a process and of those it started."""
    children = [int(text) for task in Path(f"/proc/{pid}/task").glob("*/children") for text in task.read_text().split()]
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20 + sum(map(resident_mib, children))


def told(who: str, times_s: list[float]) -> str:
    """A line of the table."""
    faults = times_s.count(math.inf)
    p95_s = times_s[int(0.95 * len(times_s))]
    return f"{who}: median {1000 * statistics.median(times_s):.1f} ms, p95 {1000 * p95_s:.1f} ms of {len(times_s)} answers, {faults} faults"


def main() -> None:
    """Measure and print."""
    command = [sys.executable, "-m", "planner", "web", "--no-open", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            line = server.stderr.readline() if server.stderr else ""
            port = int(line.rsplit(":", 1)[1].split("/")[0])
            measure(port, 1, 900)  # what a first visit loads
            for clients in (1, CLIENTS):
                print(told(f"{clients} typing", measure(port, clients, 1000 * clients)))
            before_mib = resident_mib(server.pid)
            crowd = measure(port, CROWD, 300_000, CROWD_KEYS, CROWD_PAUSE_S)
            print(told(f"{CROWD} asking", crowd) + f", {before_mib:.0f} MiB before, {resident_mib(server.pid):.0f} after")
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
