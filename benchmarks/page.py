"""How fast the page answers a keystroke: `python -m benchmarks.page` starts `plan web` and lets 20 people type at once.

Each types models, contexts and users of their own, a key every 150 ms (a quick typist), so that most answers are computed and few are
remembered. Prints the median and the 95th percentile of the time to the whole answer, and that of a single person.
"""

from __future__ import annotations

import http.client
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlencode

from planner.catalogue.load import Entry, gpu_rows, model_rows

CLIENTS, KEYS, PAUSE_S = 20, 60, 0.15


def keystrokes(seed: int) -> Iterator[dict[str, str]]:
    """States as somebody types: a model's name, then a context, then users, then the next model."""
    rng = random.Random(seed)
    gpus = [row.name for row in gpu_rows() if row.vendor == "nvidia"]
    models = [Entry(row, variant).name for row in model_rows() for variant in row.variants if variant.runtime == "vllm" and row.parameters < 80e9]
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


def type_at(port: int, seed: int, found: list[float], pause_s: float) -> None:
    """One person."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    rng = random.Random(seed)
    time.sleep(rng.uniform(0, PAUSE_S))
    for state, _ in zip(keystrokes(seed), range(KEYS), strict=False):
        start = time.perf_counter()
        connection.request("GET", f"/answer?{urlencode(state)}")
        connection.getresponse().read()
        found.append(time.perf_counter() - start)
        time.sleep(rng.uniform(0.5, 1.5) * pause_s)


def measure(port: int, clients: int, seed: int) -> list[float]:
    """Seconds of every answer while so many type."""
    found: list[float] = []
    threads = [threading.Thread(target=type_at, args=(port, seed + number, found, PAUSE_S)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


def main() -> None:
    """Measure and print."""
    command = [sys.executable, "-m", "planner", "web", "--no-open", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            line = server.stderr.readline() if server.stderr else ""
            port = int(line.rsplit(":", 1)[1].split("/")[0])
            measure(port, 1, 900)  # what a first visit loads
            for clients in (1, CLIENTS):
                times = measure(port, clients, 1000 * clients)
                print(
                    f"{clients} typing: median {1000 * statistics.median(times):.1f} ms, p95 {1000 * times[int(0.95 * len(times))]:.1f} ms of {len(times)} answers"
                )
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
