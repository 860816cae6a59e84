"""Fit the speed constants to published measurements: `python -m benchmarks.speed_fit` rewrites planner/speed/speed.json.

Logarithms of all figures at once, robust (a figure that is far off counts less), each constant drawn to a prior that stands for what a
kernel of its kind reaches: constants that few rows see stay near it, so a model or GPU that is left out does not let them run away.
The intervals are the errors of models that were left out, by class and metric (split conformal).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.least_squares import TIGHT, least_squares
from benchmarks.speed_priors import POOL_SPREAD, POOLS, PRIORS, SHARE
from benchmarks.speed_rows import FILE as ROWS
from benchmarks.speed_rows import Measured, measured
from planner.speed import roofline
from planner.speed.constants import Rates, rate_names
from planner.speed.work import Peak, Shape, Weights, Work

FILE = Path(__file__).parent.parent / "planner" / "speed" / "speed.json"

NAMES = tuple(PRIORS)
LOW, HIGH = -2.3, 2.3  # a tenth to ten times the prior; of a peak never more than all
PRIOR_FIGURES = 10  # a prior weighs as much as so many figures
NUDGE = 1e-5  # of a logarithm, for a slope
INSIDE = 0.8  # of what an interval is to hold
FEW_MODELS, FEW_GPUS = 5, 5  # below which a class does not speak for itself
SEES = 0.02  # a figure sees a constant that changes it by this part of its own change
CLASS_FIGURES = 60  # figures of one source, GPU and metric count as at most so many


METRICS = ("decode", "prompt", "ttft", "tpot", "throughput", "answer")


def _load(figure: Measured) -> tuple[Any, ...]:
    """What a figure was measured of."""
    return figure.work, figure.users, figure.prompt, figure.answer, figure.burst


class Columns:
    """Many figures at once: work, load and rates as arrays; rates are made of the constants `known`, the narrowest that apply."""

    def __init__(self, figures: Sequence[Measured], known: Sequence[str] = NAMES) -> None:
        loads: dict[Any, int] = {}  # several figures tell of the same load: what it takes is computed once
        self.load = np.array([loads.setdefault(_load(figure), len(loads)) for figure in figures])
        first = [figures[int(at)] for at in np.unique(self.load, return_index=True)[1]]
        works = [figure.work for figure in first]
        self.work = _stacked(works)
        self.users, self.prompt, self.answer, self.burst = (
            np.array([float(getattr(figure, key)) for figure in first]) for key in ("users", "prompt", "answer", "burst")
        )
        context = zip(works, self.prompt, self.answer, strict=True)
        self.cache_bytes = np.array([work.cache_bytes(float(prompt + answer / 2)) for work, prompt, answer in context])
        self.attention_flops = np.array([work.attention_flops(float(prompt)) for work, prompt in zip(works, self.prompt, strict=True)])
        names = [rate_names(work, known) for work in works]
        self.masks = {field.name: _mask([getattr(name, field.name) for name in names]) for field in fields(Rates)}
        self.metric = np.array([METRICS.index(figure.metric) for figure in figures])
        self.value = np.array([figure.value for figure in figures])

    def part(self, where: Any) -> Columns:
        """Some of the figures."""
        part: Columns = object.__new__(Columns)
        loads, part.load = np.unique(self.load[where], return_inverse=True)
        part.work = _picked(self.work, loads)
        part.masks = {name: mask[loads] for name, mask in self.masks.items()}
        for name in ("users", "prompt", "answer", "burst", "cache_bytes", "attention_flops"):
            setattr(part, name, getattr(self, name)[loads])
        part.metric, part.value = self.metric[where], self.value[where]
        return part

    def log_errors(self, logs: Any) -> Any:
        """Predicted over measured, as logarithms."""
        return self._errors({name: mask @ logs for name, mask in self.masks.items()})

    def slopes(self, logs: Any) -> Any:
        """How each error changes with each constant: by way of the rates, of which a figure knows only its own."""
        rates = {name: mask @ logs for name, mask in self.masks.items()}
        found, slopes = self._errors(rates), np.zeros((len(self.value), len(NAMES)))
        for name, mask in self.masks.items():
            own = np.flatnonzero(mask.any(axis=0))  # of the constants few make one rate
            slope = (self._errors(rates | {name: rates[name] + NUDGE}) - found) / NUDGE
            slopes[:, own] += slope[:, None] * mask[self.load][:, own]
        return slopes

    def _errors(self, rates: Mapping[str, Any]) -> Any:
        rate = Rates(**{name: np.exp(value) for name, value in rates.items()})
        served = roofline.served(self.work, rate, roofline.Load(self.users, self.prompt, self.answer, self.burst, self.cache_bytes, self.attention_flops))
        answered = served.time_to_first_token_s + (self.answer - 1) * served.time_per_output_token_s
        told = {
            "decode": served.step_s,
            "prompt": served.prompt_s,
            "ttft": served.time_to_first_token_s,
            "tpot": served.time_per_output_token_s,
            "throughput": served.output_tokens_per_s,
            "answer": answered,
        }
        predicted = np.array([told[name] for name in METRICS])[self.metric, self.load]
        return np.log(predicted / self.value)


def _mask(names: list[tuple[str, ...]]) -> Any:
    return np.array([[float(name in used) for name in NAMES] for used in names])


def _picked(values: Any, where: Any) -> Any:
    """The same record of some elements of its arrays."""
    parts = {field.name: getattr(values, field.name) for field in fields(values)}
    return replace(
        values,
        **{name: part[where] if isinstance(part, np.ndarray) else _picked(part, where) for name, part in parts.items() if _is_many(part)},
    )


def _is_many(part: Any) -> bool:
    return isinstance(part, (np.ndarray, Weights, Peak, Shape))


def _stacked(works: Sequence[Work]) -> Any:
    """One Work whose numbers are arrays."""

    def column(parts: Iterable[Any]) -> Any:
        return np.array([float(part) for part in parts])

    def stack(kind: type, parts: list[Any]) -> dict[str, Any]:
        numeric = [field.name for field in fields(kind) if isinstance(getattr(parts[0], field.name), (int, float))]
        return {name: column(getattr(part, name) for part in parts) for name in numeric}

    held = replace(works[0].weights, **stack(Weights, [work.weights for work in works]))
    best = replace(works[0].peak, **stack(Peak, [work.peak for work in works]))
    shape = Shape(**stack(Shape, [work.shape for work in works]))
    return replace(works[0], weights=held, peak=best, shape=shape, **stack(Work, list(works)))


def fit(figures: Sequence[Measured], start: Any = None, evaluations: int = 40, columns: Columns | None = None) -> Any:
    """The logarithms of all constants."""
    columns = Columns(figures) if columns is None else columns
    groups = [f"{figure.id.split('-')[0]} {figure.gpu} {figure.metric}" for figure in figures]
    counts = Counter(groups)
    weight = np.array([figure.fits * sqrt(min(counts[group], CLASS_FIGURES) / counts[group]) for figure, group in zip(figures, groups, strict=True)])
    weight /= weight.mean()
    prior = np.array([log(PRIORS[name].value) for name in NAMES])
    spread = np.array([PRIORS[name].spread for name in NAMES])
    own, pull, count = _pools(), TIGHT * sqrt(PRIOR_FIGURES), len(NAMES)
    most = np.array([0.0 if PRIORS[name].unit == SHARE else HIGH + value for name, value in zip(NAMES, prior, strict=True)])
    common = np.zeros(own.shape[1])  # by what the constants of a pool differ from their priors together
    begin = np.concatenate([np.minimum(prior if start is None else start, most), common])

    def residuals(at: Any) -> Any:
        logs, together = at[:count], at[count:]
        return np.concatenate([weight * columns.log_errors(logs), pull * (logs - prior - own @ together) / spread, pull * together / POOL_SPREAD])

    def slopes(at: Any) -> Any:
        seen = np.hstack([weight[:, None] * columns.slopes(at[:count]), np.zeros((len(weight), len(common)))])
        drawn = pull * np.hstack([np.eye(count), -own]) / spread[:, None]
        return np.vstack([seen, drawn, pull / POOL_SPREAD * np.eye(count + len(common))[count:]])

    bounds = (np.concatenate([prior + LOW, common + LOW]), np.concatenate([most, common + HIGH]))
    return least_squares(residuals, slopes, begin, bounds, evaluations)[:count]


def _pools() -> Any:
    """Which constants (rows) lie in which pool (columns)."""
    return np.array([[float(name in pool) for pool in POOLS] for name in NAMES])


def errors_left_out(figures: Sequence[Measured], key: str, everything: Any = None) -> Any:
    """Log errors of every figure, predicted by constants fitted on the figures of all others: of other models, GPUs or sources (`key`); the fits start from that of all."""
    columns, groups = Columns(figures), np.array([getattr(figure, key) for figure in figures])
    everything, errors = fit(figures, columns=columns) if everything is None else everything, np.zeros(len(figures))
    for group in sorted(set(groups)):
        own = groups == group
        others = [figure for figure, left_out in zip(figures, own, strict=True) if not left_out]
        errors[own] = columns.part(own).log_errors(fit(others, everything, 10, columns.part(~own)))
    return errors


def conformal(errors: Sequence[float], models: Sequence[str]) -> float:
    """The error that bounds 80 % of further figures: split conformal with n + 1, each model counting as at most so many figures."""
    counts = Counter(models)
    share = np.array([min(counts[model], CLASS_FIGURES) / counts[model] for model in models])
    order = np.argsort(errors)
    reached = np.cumsum(share[order]) / (share.sum() + 1)
    at = int(np.searchsorted(reached, INSIDE))
    return float(np.asarray(errors)[order[min(at, len(order) - 1)]])


def bound(figures: Sequence[Measured], errors: Any, kind: str, metric: str) -> float:
    """What a class says of itself; where it does not speak for itself, no less than what all classes of GPU say together."""
    own = [index for index, figure in enumerate(figures) if figure.kind == kind and figure.metric == metric]
    everywhere = [index for index, figure in enumerate(figures) if figure.metric == metric]
    widths = [_width(figures, errors, part) for part in (own, everywhere) if part]
    return widths[0] if speaks_for_itself(figures, errors, own) else max(widths)


def speaks_for_itself(figures: Sequence[Measured], errors: Any, own: Sequence[int]) -> bool:
    """Whether many models made a class; or many GPUs, and what it says without one of its models or GPUs holds the figures of that one."""
    models, gpus = ({getattr(figures[index], key) for index in own} for key in ("model", "gpu"))
    if len(models) >= FEW_MODELS or len(gpus) < FEW_GPUS:
        return len(models) >= FEW_MODELS
    return all(_held(figures, errors, own, key) >= INSIDE for key, names in (("model", models), ("gpu", gpus)) if len(names) > 1)


def _held(figures: Sequence[Measured], errors: Any, own: Sequence[int], key: str) -> float:
    """Part of the figures inside what the class says of itself without their model or GPU (`key`)."""
    inside = 0
    for name in {getattr(figures[index], key) for index in own}:
        width = _width(figures, errors, [index for index in own if getattr(figures[index], key) != name])
        inside += sum(abs(float(errors[index])) <= width for index in own if getattr(figures[index], key) == name)
    return inside / len(own)


def _width(figures: Sequence[Measured], errors: Any, part: Sequence[int]) -> float:
    """The error that bounds 80 % of figures like these."""
    return conformal([abs(float(errors[index])) for index in part], [figures[index].model for index in part])


def factors(figures: Sequence[Measured], errors: Any) -> dict[str, dict[str, float]]:
    """By class and metric: the factor within which 80 % of the figures of what is left out lie."""
    metrics: dict[str, set[str]] = defaultdict(set)
    for figure in figures:
        metrics[figure.kind].add(figure.metric)
    return {kind: {metric: round(exp(bound(figures, errors, kind, metric)), 2) for metric in sorted(metrics[kind])} for kind in sorted(metrics)}


def common_factors(figures: Sequence[Measured], errors: Any) -> dict[str, float]:
    """By metric alone: of a form of weights or an architecture that an engine was never measured with, few classes say anything."""
    found: dict[str, list[int]] = defaultdict(list)
    for index, figure in enumerate(figures):
        found[figure.metric].append(index)
    return {metric: round(exp(_width(figures, errors, part)), 2) for metric, part in sorted(found.items())}


def seen(figures: Sequence[Measured]) -> dict[str, dict[str, dict[str, list[str]]]]:
    """In which forms of weights which models were measured on which GPU with which engine."""
    found: dict[str, dict[str, dict[str, set[str]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
    for figure in figures:
        found[figure.work.engine][figure.gpu][figure.model].add(figure.work.form)
    return {
        engine: {gpu: {model: sorted(forms) for model, forms in sorted(models.items())} for gpu, models in sorted(by_gpu.items())}
        for engine, by_gpu in sorted(found.items())
    }


def architectures(figures: Sequence[Measured]) -> dict[str, list[str]]:
    """Which architectures were measured with which engine."""
    found: dict[str, set[str]] = defaultdict(set)
    for figure in figures:
        found[figure.work.engine].add(figure.architecture)
    return {engine: sorted(names) for engine, names in sorted(found.items())}


def constants(figures: Sequence[Measured], logs: Any) -> dict[str, dict[str, Any]]:
    """Each with what it is and what made it: figures that change by a fiftieth of its change, their models, machines and sources."""
    slopes = np.abs(Columns(figures).slopes(logs)) > SEES
    found = {}
    for number, (name, prior) in enumerate(PRIORS.items()):
        by = [figure for figure, sees in zip(figures, slopes[:, number], strict=True) if sees]
        found[name] = {
            "value": float(f"{exp(logs[number]):.4g}"),
            "unit": prior.unit,
            "meaning": prior.meaning,
            "figures": len(by),
            "models": len({figure.model for figure in by}),
            "machines": len({(figure.gpu, figure.source) for figure in by}),
            "sources": len({figure.source for figure in by}),
        }
    return found


def document(figures: Sequence[Measured]) -> dict[str, Any]:
    """What speed.json holds."""
    logs = fit(figures, evaluations=100)
    return {
        "sources": f"{len(figures)} figures of {ROWS.name} (each row with its address)",
        "checked": datetime.now(UTC).date().isoformat(),
        "constants": constants(figures, logs),
        "factors": {
            "new_model": factors(figures, errors_left_out(figures, "model", logs)),
            "new_gpu": factors(figures, errors_left_out(figures, "gpu", logs)),
            "new_form": common_factors(figures, errors_left_out(figures, "form", logs)),
            "new_architecture": common_factors(figures, errors_left_out(figures, "family", logs)),
        },
        "measured": seen(figures),
        "architectures": architectures(figures),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(measured()), indent=1) + "\n")
