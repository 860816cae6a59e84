"""Our speed estimate beside NVIDIA's aiconfigurator (Apache-2.0) on published measurements: `python -m benchmarks.competitor`.

Both answer the same rows in one run: ours predicts each model by constants fitted on all other models, aiconfigurator from its operator
tables (part of the rows is its own regression set). It lives in an environment of its own, made at the first run; it has no GeForce and no Apple.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.estimators.aiconfigurator import TOOL
from benchmarks.speed_accuracy import grouped, percent
from benchmarks.speed_fit import errors_left_out
from benchmarks.speed_models import model_name
from benchmarks.speed_rows import Measured, left_out, measured, number, rows
from planner.catalogue import load as catalog
from planner.catalogue import shipped
from planner.engines.vllm.rules import with_kernels
from planner.engines.work import cache_reads, weights
from planner.facts.config import CacheLayout, Parallel
from planner.facts.hardware import GpuSpec
from planner.speed.constants import rates
from planner.speed.links import all_reduce
from planner.speed.roofline import load, served
from planner.speed.work import Work, arithmetic, is_narrow, peak, shape_of
from planner.version import VERSION

WORKERS = 3  # processes that ask it
REASONS = {"HuggingFaceDownloadError": "HuggingFaceDownloadError (it has no such config, and the Hub was not reachable)"}
TABLES = """
import json, logging, sys
logging.disable(logging.CRITICAL)
from aiconfigurator_core.sdk.perf_database import get_latest_database_version
print(json.dumps([get_latest_database_version(system=gpu, backend=engine) for gpu, engine in json.loads(sys.argv[1])]))
"""
WORKER = Path(__file__).with_name("competitor_worker.py")
FILE = Path(__file__).parent.parent / "docs" / "aiconfigurator.md"
PER_GROUP = 16  # rows of one model, format, engine and GPU that are asked at most: about a second each


def environment() -> Path:
    """The Python that has aiconfigurator: the one of the scoreboard, which asks its estimate of memory."""
    TOOL.install()
    return TOOL.programs / "python"


def questions() -> Iterator[dict[str, Any]]:
    """The rows it may know: a stated engine on a data-centre GPU; of a sweep, spread evenly, at most PER_GROUP."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows():
        if not left_out(row) and row["gpu"].endswith("_sxm") and row["engine"] in ("vllm", "sglang", "trtllm") and number(row, "tpot_ms"):
            groups.setdefault((row["model"], row["quant"], row["engine"], row["gpu"]), []).append(row)
    for found in groups.values():
        step = max(1, -(-len(found) // PER_GROUP))
        for row in found[::step]:
            yield {
                "id": row["id"], "gpu": row["gpu"], "engine": row["engine"], "model": row["model"], "quant": row["quant"],
                "tp": int(number(row, "tp") or 1), "ep": int(number(row, "ep") or 1), "users": int(number(row, "concurrency")),
                "prompt": int(number(row, "input_len")), "answer": int(number(row, "output_len")),
            }  # fmt: skip


def asked(python: Path, batch: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Its answers by row; the rows of a GPU and an engine are asked one after the other, so that its tables are read once."""
    tables: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in batch:
        tables.setdefault((row["gpu"], row["engine"]), []).append(row)
    shares: list[list[dict[str, Any]]] = [[] for _ in range(WORKERS)]
    for rows_of_one in sorted(tables.values(), key=len, reverse=True):
        min(shares, key=len).extend(rows_of_one)
    with ThreadPoolExecutor(WORKERS) as pool:
        return {row_id: answer for answers in pool.map(lambda share: _answers(python, share), shares) for row_id, answer in answers.items()}


def _answers(python: Path, batch: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    lines = "\n".join(json.dumps(row) for row in batch) + "\n"
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([python, WORKER], input=lines, capture_output=True, text=True, check=True, env=quiet)
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {answer["id"]: answer for answer in answers if "id" in answer}


def tables(python: Path, batch: list[dict[str, Any]]) -> str:
    """Which releases of the engines its tables of the asked GPUs are of, in words."""
    pairs = sorted({(row["gpu"], row["engine"]) for row in batch})
    done = subprocess.run([python, "-c", TABLES, json.dumps(pairs)], capture_output=True, text=True, check=True)
    releases: dict[str, dict[str, list[str]]] = {}
    for (gpu, engine), release in zip(pairs, json.loads(done.stdout.splitlines()[-1]), strict=True):
        releases.setdefault(engine, {}).setdefault(release, []).append(gpu.removesuffix("_sxm"))
    told = {engine: ", ".join(f"{release} ({', '.join(gpus)})" for release, gpus in found.items()) for engine, found in releases.items()}
    return "; ".join(f"{engine} {words}" for engine, words in told.items())


def our_seconds(row: dict[str, Any]) -> float:
    """One estimate of ours from nothing but names: the model's row is read and built, its work counted, the roofline asked."""
    for kept in (shipped.shipped, shipped.shipped_gpu, shipped.shipped_model):
        kept.cache_clear()
    start = time.process_time()
    entry = catalog.find_model(model_name(row["model"]) or "")
    if entry is None:
        return float("nan")
    gpu, model = catalog.find_gpu(row["gpu"].removesuffix("_sxm").replace("a100", "a100-80")), entry.spec()
    work = _work(model, gpu, row["tp"])
    served(work, rates(work), load(work, float(row["users"]), float(row["prompt"]), float(row["answer"])))
    return time.process_time() - start


def _work(model: Any, gpu: GpuSpec, tp: int) -> Work:
    kind, widened = arithmetic(model, gpu)
    best = peak(gpu, kind, all_reduce(gpu, tp))
    if best is None:
        raise ValueError(f"{gpu.name} has no known peaks")
    held, read = weights(model, with_kernels(Parallel(tensor_parallel_size=tp), gpu)), cache_reads(model, tp, CacheLayout(backend=""))
    return Work(
        engine="vllm", weights=held, reads=read, peak=best, tensor_parallel_size=tp, weight_only=widened, narrow=is_narrow(model), shape=shape_of(model, kind)
    )


def head(releases: str, day: date) -> list[str]:
    """What is compared, of which releases, and when they were asked."""
    return [
        "# Beside aiconfigurator",
        "",
        f"Generated by `python -m benchmarks.competitor` on {day}: aiconfigurator {TOOL.version}, the newest that installs, and this planner {VERSION} on the same published measurements, in one run. (Its successor AISimulate",
        "is on PyPI as a placeholder that fetches the program from elsewhere.) Ours predicts each model by constants that were fitted on all other models; most rows are aiconfigurator's own regression set (`silicon_sample.csv`).",
        f"Its tables are of {releases}.",
        "",
    ]


def table(batch: list[dict[str, Any]], theirs: dict[str, dict[str, Any]]) -> list[str]:
    """Both errors by metric and class, and both times."""
    figures = measured()
    ours = {(figure.id, figure.metric): (figure, float(error)) for figure, error in zip(figures, errors_left_out(figures, "model"), strict=True)}
    common: list[tuple[Measured, float, float]] = []
    for row_id, answer in theirs.items():
        for metric, key in (("tpot", "tpot_s"), ("ttft", "ttft_s")):
            if (row_id, metric) in ours and answer.get(key):
                figure, error = ours[row_id, metric]
                common.append((figure, error, log(answer[key] / figure.value)))
    refused = Counter(answer["refused"].partition(":")[0] for answer in theirs.values() if "refused" in answer)
    lines = [
        f"{len(batch)} rows asked (of each sweep at most {PER_GROUP}), {sum('tpot_s' in answer for answer in theirs.values())} answered by aiconfigurator; refused: "
        + (", ".join(f"{count} {REASONS.get(name, name)}" for name, count in refused.most_common()) or "none")
        + ".",
        "",
        "| median absolute error | figures | ours, model left out | aiconfigurator |",
        "|---|---|---|---|",
    ]  # fmt: skip
    for title, key in (
        ("", lambda figure: figure.metric),
        (" ", lambda figure: f"{figure.metric}, {figure.work.engine} on {figure.gpu}"),
        ("  ", lambda figure: f"{figure.metric}, {figure.model}"),
    ):
        mine, other = (grouped([row[0] for row in common], [row[column] for row in common], key) for column in (1, 2))
        names = {"tpot": "time per output token", "ttft": "time to first token"}
        for name in sorted(mine, key=lambda name: (name[:4], name)):
            label = names[name[:4]] + name[4:] if not title else name.replace(name[:4], names[name[:4]])
            lines.append(f"| {label} | {len(mine[name])} | {median(percent(mine[name])):.1f} % | {median(percent(other[name])):.1f} % |")
    seconds = [answer["seconds"] for answer in theirs.values() if "seconds" in answer]
    own = [our_seconds(row) for row in batch if "seconds" in theirs.get(row["id"], {})]
    lines += [
        "",
        f"Time of one estimate, of the CPU, both in warm processes on this machine: aiconfigurator {median(seconds):.2f} s (median; {max(seconds):.1f} s at most), ours {1000 * median(own):.1f} ms from the model's name, "
        f"the catalogue's row read and built each time: a {median(seconds) / median(own):.0f}th.",
    ]
    return lines


def main() -> None:
    """Ask both, write docs/aiconfigurator.md and print it."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--python", type=Path, help="a Python that has aiconfigurator")
    found = options.parse_args()
    batch = list(questions())
    python = found.python or environment()
    lines = [*head(tables(python, batch), date.today()), *table(batch, asked(python, batch))]
    FILE.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
