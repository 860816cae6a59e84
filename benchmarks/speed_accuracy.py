"""How far the speed model is off, whole models left out: the last part of docs/accuracy.md."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from math import exp
from statistics import median
from typing import Any

import numpy as np

from benchmarks import mlperf, speed_forms, speed_refusals
from benchmarks.speed_fit import bound, errors_left_out, fit
from benchmarks.speed_rows import Measured, left_out, measured, rows

LEFT_OUT, APART = ("model", "gpu", "source"), "apart"
LEAST = 20  # figures of other models that an interval is taken from
TITLES = {
    "decode": "time of a decoding step", "tpot": "time per output token", "throughput": "output tokens a second", "ttft": "time to first token",
    "prompt": "time of a prompt", "answer": "time of an answer, one user",
}  # fmt: skip


def percent(errors: Iterable[float]) -> list[float]:
    """Absolute errors in percent, from logarithms."""
    return [100 * abs(exp(error) - 1) for error in errors]


def grouped(figures: Iterable[Measured], errors: Any, key: Callable[[Measured], str]) -> dict[str, list[float]]:
    """Log errors by a property of the figure."""
    found: dict[str, list[float]] = defaultdict(list)
    for figure, error in zip(figures, errors, strict=True):
        found[key(figure)].append(float(error))
    return dict(sorted(found.items()))


def headline(figures: Iterable[Measured], errors: Any) -> dict[str, float]:
    """Median absolute errors in percent: a step of one user, time per output token, throughput, time to first token."""
    names = grouped(figures, errors, lambda figure: "single stream" if figure.metric == "decode" and figure.users == 1 else figure.metric)
    return {name: median(percent(values)) for name, values in names.items()}


def insides(figures: tuple[Measured, ...], errors: Any) -> list[bool | None]:
    """Whether each figure lies in the 80 % interval that is taken, as the shipped ones are, from the errors of all other models; None of a rare metric."""
    held: dict[tuple[str, str, str], float] = {}
    found: list[bool | None] = []
    for figure, error in zip(figures, errors, strict=True):
        asked = (figure.model, figure.kind, figure.metric)
        if asked not in held:
            others = [index for index, near in enumerate(figures) if near.model != figure.model]
            rest = tuple(figures[index] for index in others)
            enough = sum(near.metric == figure.metric for near in rest) >= LEAST
            held[asked] = bound(rest, errors[others], figure.kind, figure.metric) if enough else -1.0
        found.append(None if held[asked] < 0 else abs(float(error)) <= held[asked])
    return found


def coverage(figures: tuple[Measured, ...], errors: Any) -> float:
    """Part of the figures inside their intervals."""
    told = [inside for inside in insides(figures, errors) if inside is not None]
    return sum(told) / len(told)


def board(figures: tuple[Measured, ...], left: dict[str, Any]) -> list[str]:
    """By class and metric: the median error by what was left out (`left`), and how many lie inside the interval."""
    inside = insides(figures, left["model"])
    classes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, figure in enumerate(figures):
        classes[figure.kind, figure.metric].append(index)
    lines = [
        "| class | figure | number | models left out | GPUs left out | sources left out | chosen and judged apart | inside 80 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (kind, metric), part in sorted(classes.items()):
        told = [value for index in part if (value := inside[index]) is not None]
        medians = " | ".join(f"{median(percent(left[key][part])):.1f} %" for key in (*LEFT_OUT, APART))
        share = f"{100 * sum(told) / len(told):.0f} %" if told else ""
        lines.append(f"| {kind} | {TITLES[metric]} | {len(part)} | {medians} | {share} |")
    return lines


def choices(figures: tuple[Measured, ...], errors: Any) -> dict[str, float]:
    """How often the fastest tensor-parallel size on PCIe is named, by us and by always taking the largest."""
    groups: dict[Any, dict[int, tuple[float, float]]] = defaultdict(dict)
    for figure, error in zip(figures, errors, strict=True):
        if figure.work.peak.link.startswith("pcie") and figure.work.engine == "vllm" and figure.metric in ("decode", "throughput"):
            sign = -1 if figure.metric == "decode" else 1
            stored = (figure.gpu, figure.model, figure.work.weight_only, figure.work.form)
            seen = sign * figure.value
            asked = (*stored, figure.users, figure.prompt, figure.answer, figure.metric)
            groups[asked][figure.work.tensor_parallel_size] = (seen, seen * exp(float(error)))
    compared = [found for found in groups.values() if len(found) > 1]
    best = [max(found, key=lambda tp, found=found: found[tp][0]) for found in compared]
    ours = [max(found, key=lambda tp, found=found: found[tp][1]) for found in compared]
    right = sum(a == b for a, b in zip(best, ours, strict=True))
    largest = sum(a == max(found) for a, found in zip(best, compared, strict=True))
    return {"groups": len(compared), "ours": right / len(compared), "largest": largest / len(compared)}


def table() -> list[str]:
    """The section on speed."""
    figures = measured()
    everything, (apart, kept) = fit(figures), speed_forms.judged(figures)
    left = {key: errors_left_out(figures, key, everything) for key in LEFT_OUT} | {APART: apart}
    model, gpu = left["model"], left["gpu"]
    reasons = Counter(left_out(row).partition(":")[0] for row in rows())
    chosen = choices(figures, model)
    lines = [
        "## Speed",
        "",
        f"{len(figures)} published figures of {len({figure.model for figure in figures})} models on {len({figure.gpu for figure in figures})} GPUs",
        "(`tests/data/speed_cases.csv`, each with its address). *Models left out*: each model's figures are predicted by constants fitted on",
        "all other models; *GPUs* and *sources left out* likewise. Left out of everything: "
        + "; ".join(f"{count} rows ({reason})" for reason, count in reasons.most_common() if reason)
        + ".",
        "",
        "*Chosen and judged apart*: which constants an engine, a kernel or a card has of its own is chosen anew on models that are neither fitted nor",
        f"judged: three sets that share no model, by a hash of its name, each of {speed_forms.SETS} quarters judged once. Kept in so many of the {speed_forms.SETS} turns: "
        + "; ".join(f"{name} {kept[name]}" for name in speed_forms.GROUPS)
        + ". The equations themselves were written with these figures in view.",
        "",
        "| median absolute error | figures | models left out | 80 % of them within | GPUs left out | chosen and judged apart |",
        "|---|---|---|---|---|---|",
    ]
    named = grouped(figures, model, lambda figure: figure.metric)
    beside, alone = (grouped(figures, errors, lambda figure: figure.metric) for errors in (gpu, apart))
    for name, title in TITLES.items():
        errors = percent(named[name])
        lines.append(
            f"| {title} | {len(errors)} | {median(errors):.1f} % | {np.quantile(errors, 0.8):.0f} % | {median(percent(beside[name])):.1f} % | {median(percent(alone[name])):.1f} % |"
        )
    lines += [
        "",
        f"A step of one user alone: {headline(figures, model)['single stream']:.1f} %. The stated 80 % interval, taken from other models of the class, holds",
        f"{100 * coverage(figures, model):.0f} % of the figures. The fastest tensor-parallel size on PCIe is named in {100 * chosen['ours']:.0f} % of {chosen['groups']:.0f} groups",
        f"(always the largest: {100 * chosen['largest']:.0f} %).",
        "",
    ]
    return [*lines, *board(figures, left), "", *speed_refusals.table(), "", *mlperf.table()]


if __name__ == "__main__":
    print("\n".join(table()))
