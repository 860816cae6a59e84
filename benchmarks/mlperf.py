"""MLPerf Inference v5.1's results of language models as judged rows (docs/accuracy.md): none takes part in the fit or in a choice of its form.

tests/data/mlperf_v5.1.csv: closed division, data centre, one machine (https://github.com/mlcommons/inference_results_v5.1). What a submission does
not tell, how it divides its GPUs and how many sequences run at once, is what gives most here; a server's limits of latency are not held.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

from benchmarks.speed_models import gpu_spec, spec
from planner.engines.vllm.rules import with_kernels
from planner.engines.work import cache_reads, weights
from planner.facts.config import CacheLayout, Parallel
from planner.speed.constants import rates
from planner.speed.links import all_reduce
from planner.speed.roofline import load, served
from planner.speed.work import Work, arithmetic, is_narrow, peak, shape_of

FILE = Path(__file__).parent.parent / "tests" / "data" / "mlperf_v5.1.csv"
# Mean tokens of a prompt and an answer. Answers: the accuracy targets of github.com/mlcommons/inference (language/llama2-70b: 294.45,
# language/llama3.1-405b: 684.68; llama3.1-8b ends at 128). Prompts: about, OpenOrca below 1,024, LongBench and RULER, CNN/DailyMail.
LENGTHS = {"llama-2-70b": (300, 294), "llama-3.1-405b": (9400, 685), "llama-3.1-8b": (870, 128)}
USABLE = 0.92  # of a GPU's memory
REST_BYTES = 3_000_000_000  # beside weights and caches
CROWDS = (64, 128, 256, 512, 1024, 2048)  # sequences at once that are tried, beside as many as fit up to the last


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One result: tokens a second of all GPUs."""

    id: str
    submitter: str
    model: str
    scenario: str
    gpu: str
    count: int
    quant: str
    engine: str
    tokens_per_s: float


def results() -> list[Result]:
    """All rows."""
    with FILE.open(newline="") as file:
        return [
            Result(
                id=row["id"], submitter=row["submitter"], model=row["model"], scenario=row["scenario"], gpu=row["gpu"], count=int(row["count"]),
                quant=row["quant"], engine=row["engine"], tokens_per_s=float(row["tokens_per_s"]),
            )
            for row in csv.DictReader(file)
        ]  # fmt: skip


@cache
def predicted(model: str, quant: str, gpu: str, count: int, engine: str) -> float:
    """Tokens a second of the division that gives most; 0 where none holds the weights or the GPU's arithmetic is not known."""
    servers = ((count // ranks, _work(model, quant, gpu, engine, ranks)) for ranks in (1, 2, 4, 8) if ranks <= count)
    return max((number * _fullest(work, LENGTHS[model]) for number, work in servers if work is not None and work.peak.computes), default=0.0)


def _fullest(work: Work, lengths: tuple[int, int]) -> float:
    """Tokens a second of one server, as full as gives most."""
    prompt, answer = (float(tokens) for tokens in lengths)
    free = USABLE * gpu_spec(work.peak.gpu).memory_bytes - REST_BYTES - work.weights.dense_bytes - work.weights.head_bytes
    most = min(int(free / work.cache_bytes(prompt + answer / 2)), CROWDS[-1])
    crowds = [float(users) for users in (*CROWDS, most) if 1 <= users <= most]
    return max((served(work, rates(work), load(work, users, prompt, answer)).output_tokens_per_s for users in crowds), default=0.0)


def _work(model: str, quant: str, gpu: str, engine: str, ranks: int) -> Work | None:
    stored, card = spec(model, quant), gpu_spec(gpu)
    kind, widened = arithmetic(stored, card)
    best = peak(card, kind, all_reduce(card, ranks))
    if best is None:
        return None
    held = weights(stored, with_kernels(Parallel(tensor_parallel_size=ranks), card))
    read = cache_reads(stored, ranks, CacheLayout(backend="", bits=8))
    shape = shape_of(stored, kind)
    return Work(engine=engine, weights=held, reads=read, peak=best, shape=shape, tensor_parallel_size=ranks, weight_only=widened, narrow=is_narrow(stored))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Equal machines of several submitters: the median of what they reached, and ours (0 where there is none)."""

    title: str
    scenario: str
    number: int
    theirs: float
    ours: float


@cache
def lines() -> tuple[Line, ...]:
    """By model, format, GPU and scenario."""
    groups: dict[tuple[str, str, str, int, str, str], list[float]] = defaultdict(list)
    for row in results():
        groups[row.model, row.quant, row.gpu, row.count, row.engine, row.scenario].append(row.tokens_per_s)
    return tuple(
        Line(
            title=f"{model} {quant} | {count}x {gpu} | {engine}",
            scenario=scenario,
            number=len(reached),
            theirs=median(reached),
            ours=predicted(model, quant, gpu, count, engine),
        )
        for (model, quant, gpu, count, engine, scenario), reached in sorted(groups.items())
    )


def table() -> list[str]:
    """The section of docs/accuracy.md."""
    everything, off = lines(), medians()
    return [
        "### MLPerf Inference v5.1",
        "",
        f"{sum(line.number for line in everything)} results of the closed division on one machine, none of which takes part in the fit (`tests/data/mlperf_v5.1.csv`). Median error of the lines below:",
        f"{off['offline']:.0f} % offline, {off['server']:.0f} % server; {sum(line.number for line in everything if not line.ours)} results have no prediction (GPUs whose arithmetic is not known). How a submission divides its",
        "GPUs and fills them is not told: ours is the division that gives most at full load, and a server's limits of latency are not held.",
        "",
        "| model | GPUs | engine | scenario | results | tokens/s, median | ours | error |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {line.title} | {line.scenario} | {line.number} | {line.theirs:,.0f} | {line.ours:,.0f} | {100 * (line.ours / line.theirs - 1):+.0f} % |"
            for line in everything
            if line.ours
        ),
    ]


def medians() -> dict[str, float]:
    """Median errors over the lines of the table in percent, by scenario."""
    return {
        scenario: round(100 * median(abs(line.ours / line.theirs - 1) for line in lines() if line.scenario == scenario and line.ours), 2)
        for scenario in ("offline", "server")
    }


if __name__ == "__main__":
    print("\n".join(table()))
