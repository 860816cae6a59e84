"""What is chosen, for 12 machines and 12 models: `python -m benchmarks.choosing` writes docs/choices.md; `--fit` prints the lines of planner/questions/indexes.json.

tests/questions/test_choices.py holds the page to the laws of choosing and to being current.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from planner.catalogue.load import find_gpu, model_rows
from planner.facts.hardware import GpuGroup
from planner.questions.choose import Wish
from planner.questions.offers import rated
from planner.questions.reasons import machine_reasons, reasons
from planner.questions.shortlist import MachinesAnswer, ModelsAnswer, machines_for, models_for
from planner.questions.standing import rule

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "choices.md"
INDEXES = ROOT / "planner" / "questions" / "indexes.json"
PURPOSES = ("chat", "agent")
TOP = 5
MACHINES = (
    ("rtx3060", 1),
    ("rtx3090", 1),
    ("rtx4090", 1),
    ("rtx4090", 2),
    ("rtx5090", 1),
    ("rtxpro6000", 1),
    ("gb10", 1),
    ("m4-max-128gb", 1),
    ("l4", 1),
    ("a100-80", 2),
    ("h100", 8),
    ("mi300x", 8),
)
MODELS = (
    "qwen3.8-27b",
    "qwen3.6-35b-a3b",
    "qwen3.5-122b-a10b",
    "gemma-4-31b",
    "gemma-4-12b",
    "gpt-oss-120b",
    "gpt-oss-20b",
    "nemotron-3-super-120b-a12b",
    "llama-3.3-70b",
    "minimax-m2.7",
    "glm-5.3",
    "qwen3-embedding-8b",
)


def models(gpu: str, count: int, purpose: str) -> ModelsAnswer:
    """The first models for a machine."""
    return models_for(GpuGroup(gpu=find_gpu(gpu), count=count), Wish(purpose=purpose), top=TOP)


def machines(model: str) -> MachinesAnswer:
    """The first machines for a model."""
    return machines_for(model, top=TOP)


def page() -> str:
    """The page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# What is chosen"
    yield ""
    yield "The first five of `plan --gpu NAME --count N --for chat` and `--for agent` on 12 machines, and of `plan --model NAME` for 12 models, each with its reason"
    yield "([how it is chosen](choosing.md)). *Front*: no other row of the five is at least as good in quality, speed and users, and better in one. This page is written by"
    yield "`python -m benchmarks.choosing`; a test holds that none is below the floor of speed and that no row stands above one that dominates it."
    for gpu, count in MACHINES:
        for purpose in PURPOSES:
            answer = models(gpu, count, purpose)
            yield from ("", f"## {answer.group.label}, for {purpose}", "")
            yield "| # | plan this | tokens/s | users | front | why here |"
            yield "|---|---|---|---|---|---|"
            for place, (model, reason) in enumerate(zip(answer.models, reasons(answer.models), strict=True), 1):
                rate = "" if model.tokens_per_s is None else f"{model.tokens_per_s:.2g}"
                yield f"| {place} | `{model.fit.arguments}` | {_figure(rate)} | {model.fit.at_once:.0f} | {'yes' if model.on_front else ''} | {reason}. |"
    for name in MODELS:
        held = machines(name)
        yield from ("", f"## {name}, {held.need.context:,} tokens of context", "")
        yield "| # | GPUs | weights | tokens/s | users | why here |"
        yield "|---|---|---|---|---|---|"
        for place, (machine, reason) in enumerate(zip(held.machines, machine_reasons(held.machines, held.need.users), strict=True), 1):
            speed = getattr(machine.speed, "tokens_per_s", None)
            gpus = f"{machine.count}x {machine.gpu.name}"
            users = machine.at_once
            yield f"| {place} | {gpus} | {machine.stored.name}{f' {machine.stored.form}' if machine.stored.form else ''} | {f'{speed.expected:g}' if speed else ''} | {users:.0f} | {reason}. |"


def _figure(rate: str) -> str:
    return f"{float(rate):g}" if rate else ""


def fitted(line: str) -> tuple[float, float, float]:
    """Doublings at a figure of zero, doublings a point, and the correlation of figures and rule: their reduced major axis over the catalogue."""
    held = json.loads(INDEXES.read_text())
    purpose = held["lines"][line]["purposes"][0]
    points = [
        (figure.value + held["indexes"][figure.index]["add"], rule(replace(rated(row), for_code=False), purpose))
        for row in model_rows()
        for figure in row.quality
        if held["indexes"][figure.index]["line"] == line
    ]
    values, rules = zip(*points, strict=True)
    per_point = statistics.stdev(rules) / statistics.stdev(values)
    return statistics.mean(rules) - per_point * statistics.mean(values), per_point, statistics.correlation(values, rules)


if __name__ == "__main__":
    if sys.argv[1:] == ["--fit"]:
        for name in json.loads(INDEXES.read_text())["lines"]:
            print(name, *(f"{figure:.4f}" for figure in fitted(name)))
    else:
        PAGE.write_text(page())
