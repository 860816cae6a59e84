"""Fit the speed constants to published measurements: `python -m benchmarks.speed_fit` rewrites planner/speed/speed.json.

Logarithms of all figures at once, robust (a figure that is far off counts less), each constant drawn to a prior that stands for what a
kernel of its kind reaches: constants that few rows see stay near it, so a model or GPU that is left out does not let them run away.
The intervals are the errors of models that were left out, by class and metric (split conformal).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed_rows import FILE as ROWS
from benchmarks.speed_rows import Measured, measured
from planner.speed import roofline
from planner.speed.roofline import Rates, rate_names
from planner.speed.work import Peak, Shape, Weights, Work

FILE = Path(__file__).parent.parent / "planner" / "speed" / "speed.json"


@dataclass(frozen=True, slots=True)
class Prior:
    """What a constant is expected to be, by what relative spread, and what it is."""

    value: float
    spread: float
    unit: str
    meaning: str


SHARE, SECONDS = "share of the peak", "s"
PRIORS = {
    **{
        f"bandwidth.{engine}": Prior(0.8, 0.1, SHARE, f"memory bandwidth that {engine} reaches on weights")
        for engine in ("vllm", "sglang", "trtllm", "llamacpp", "mlx")
    },
    **{f"layer.{engine}": Prior(45e-6, 0.3, SECONDS, f"starts of a layer in {engine}") for engine in ("vllm", "sglang", "trtllm", "mlx")},
    "layer.llamacpp": Prior(70e-6, 0.3, SECONDS, "starts of a layer in llama.cpp, which has more kernels"),
    "layer.vllm.blackwell": Prior(40e-6, 0.3, SECONDS, "the same on Blackwell"),
    "layer.llamacpp.geforce": Prior(40e-6, 0.3, SECONDS, "the same on GeForce"),
    "layer.llamacpp.apple": Prior(70e-6, 0.3, SECONDS, "the same on a Mac"),
    "layer.llamacpp.unified": Prior(70e-6, 0.3, SECONDS, "the same on GB10"),
    "layer.llamacpp.2024": Prior(80e-6, 0.3, SECONDS, "the same in builds of 2024, before CUDA graphs and fused kernels"),
    "bandwidth.weight_only": Prior(0.93, 0.1, "factor", "weights widened to 16 bits as they are read: dense Marlin"),
    "bandwidth.weight_only.moe": Prior(0.9, 0.15, "factor", "the same of experts: MoE Marlin"),
    "bandwidth.weight_only.moe_datacenter": Prior(0.8, 0.15, "factor", "the same on cards with HBM"),
    "bandwidth.weight_only.llamacpp": Prior(0.93, 0.1, "factor", "quantized GGUF"),
    "bandwidth.weight_only.mlx": Prior(0.93, 0.1, "factor", "quantized MLX"),
    "bandwidth.two_dies.mlx": Prior(0.8, 0.15, "factor", "the same, MLX"),
    "bandwidth.two_dies": Prior(0.85, 0.15, "factor", "Ultra: two dies do not give twice the bandwidth"),
    "bandwidth.h20": Prior(0.4, 0.3, "factor", "H20: its arithmetic does not keep up with its memory"),
    "bandwidth.llamacpp_hbm": Prior(0.8, 0.15, "factor", "llama.cpp on cards with HBM"),
    "bandwidth.llamacpp_hbm.ampere": Prior(0.7, 0.15, "factor", "the same, A100"),
    "cache": Prior(0.8, 0.15, SHARE, "memory bandwidth reached on the KV cache"),
    "decode": Prior(0.6, 0.2, SHARE, "arithmetic of a decoding batch"),
    "decode.llamacpp": Prior(0.1, 0.4, SHARE, "the same in llama.cpp"),
    "expert_spread": Prior(0.9, 0.05, "power of the batch", "routing is uneven: B tokens touch as many experts as B^spread would at random"),
    "module": Prior(2e-6, 0.3, SECONDS, "one more matrix or norm of a layer"),
    "moe_layer": Prior(35e-6, 0.3, SECONDS, "routing and permuting of a layer of experts"),
    "moe_layer.llamacpp": Prior(35e-6, 0.3, SECONDS, "the same in llama.cpp"),
    "moe_layer.mlx": Prior(35e-6, 0.3, SECONDS, "the same in MLX"),
    "moe_layer.fp8": Prior(35e-6, 0.3, SECONDS, "the same of FP8 experts, which quantize what comes in"),
    "moe_layer.fp4": Prior(35e-6, 0.3, SECONDS, "the same of FP4 experts"),
    "sequence": Prior(15e-6, 0.3, SECONDS, "one more sequence of a batch: sampling, detokenizing, scheduling"),
    "prefill.datacenter": Prior(0.65, 0.3, SHARE, "arithmetic of a prompt, cards with HBM"),
    "prefill.geforce": Prior(0.6, 0.3, SHARE, "arithmetic of a prompt, GeForce"),
    "prefill.workstation": Prior(0.65, 0.3, SHARE, "arithmetic of a prompt, workstation cards"),
    "prefill.apple": Prior(0.63, 0.3, SHARE, "arithmetic of a prompt, Apple"),
    "prefill.unified": Prior(0.65, 0.3, SHARE, "arithmetic of a prompt, GB10 and Jetson"),
    "prefill.amd": Prior(0.4, 0.3, SHARE, "arithmetic of a prompt, AMD"),
    "prefill.llamacpp": Prior(0.3, 0.3, SHARE, "arithmetic of a prompt, llama.cpp on CUDA"),
    "prefill.llamacpp.geforce": Prior(0.3, 0.3, SHARE, "the same on GeForce"),
    "prefill.llamacpp.datacenter": Prior(0.25, 0.3, SHARE, "the same on cards with HBM"),
    "prefill.weight_only.llamacpp": Prior(0.8, 0.15, "factor", "the same of quantized GGUF"),
    "prefill.moe_datacenter": Prior(0.3, 0.3, "factor", "experts' small matrices, cards with HBM"),
    "prefill.moe": Prior(0.6, 0.3, "factor", "experts' small matrices, other cards"),
    "prefill.low_precision": Prior(0.75, 0.15, "factor", "FP8, FP4 and INT8 reach less of their peak"),
    "prefill.weight_only": Prior(0.8, 0.15, "factor", "weights widened before they are multiplied"),
    "attention": Prior(0.6, 0.3, SHARE, "attention over a prompt, of the 16-bit peak"),
    "nvlink.start": Prior(6e-6, 0.3, SECONDS, "what an all-reduce over NVLink waits beyond the measured start: the other ranks, the norm after it"),
    "nvlink.share": Prior(0.8, 0.15, "factor", "of the measured bus bandwidth"),
    "pcie.start": Prior(6e-6, 0.3, SECONDS, "the same over PCIe"),
    "pcie.share": Prior(0.9, 0.15, "factor", "of the measured bus bandwidth"),
    "first_token.vllm": Prior(0.02, 0.3, SECONDS, "HTTP, tokenizing and scheduling before the first token; also of llama.cpp and MLX"),
    "first_token.sglang": Prior(0.06, 0.3, SECONDS, "the same, SGLang's client"),
    "first_token.trtllm": Prior(0.06, 0.3, SECONDS, "the same, TensorRT-LLM's client"),
    **{f"queue.{engine}": Prior(0.08, 0.3, "share of the other prompts", "prompts of others that one waits for") for engine in ("vllm", "sglang", "trtllm")},
    "queue_load": Prior(0.2, 0.3, "share of the other prompts", "what load adds to it"),
    "steps_before_first": Prior(2, 0.3, "decoding steps", "that pass before a prompt is begun, and after"),
}
NAMES = tuple(PRIORS)
LOW, HIGH = -2.3, 2.3  # a tenth to ten times the prior; of a peak never more than all
TIGHT = 0.15  # log errors up to this count in full (soft L1)
PRIOR_FIGURES = 10  # a prior weighs as much as so many figures
NUDGE = 1e-5  # of a logarithm, for a slope
CLASS_FIGURES = 60  # figures of one source, GPU and metric count as at most so many


class Columns:
    """Many figures at once: work, load and rates as arrays."""

    def __init__(self, figures: Sequence[Measured]) -> None:
        works = [figure.work for figure in figures]
        self.work = _stacked(works)
        self.users, self.prompt, self.answer, self.burst = (
            np.array([float(getattr(figure, key)) for figure in figures]) for key in ("users", "prompt", "answer", "burst")
        )
        context = zip(works, self.prompt, self.answer, strict=True)
        self.cache_bytes = np.array([work.cache_bytes(float(prompt + answer / 2)) for work, prompt, answer in context])
        self.attention_flops = np.array([work.attention_flops(float(prompt)) for work, prompt in zip(works, self.prompt, strict=True)])
        names = [rate_names(work, NAMES) for work in works]
        self.masks = {field.name: _mask([getattr(name, field.name) for name in names]) for field in fields(Rates)}
        self.metric = np.array([figure.metric for figure in figures])
        self.value = np.array([figure.value for figure in figures])

    def part(self, where: Any) -> Columns:
        """Some of the figures."""
        part: Columns = object.__new__(Columns)
        part.work = _picked(self.work, where)
        part.masks = {name: mask[where] for name, mask in self.masks.items()}
        for name in ("users", "prompt", "answer", "burst", "cache_bytes", "attention_flops", "metric", "value"):
            setattr(part, name, getattr(self, name)[where])
        return part

    def log_errors(self, logs: Any) -> Any:
        """Predicted over measured, as logarithms."""
        return self._errors({name: mask @ logs for name, mask in self.masks.items()})

    def slopes(self, logs: Any) -> Any:
        """How each error changes with each constant: by way of the rates, of which a figure knows only its own."""
        rates = {name: mask @ logs for name, mask in self.masks.items()}
        found, slopes = self._errors(rates), np.zeros((len(self.value), len(NAMES)))
        for name, mask in self.masks.items():
            slopes += ((self._errors(rates | {name: rates[name] + NUDGE}) - found) / NUDGE)[:, None] * mask
        return slopes

    def _errors(self, rates: Mapping[str, Any]) -> Any:
        rate = Rates(**{name: np.exp(value) for name, value in rates.items()})
        served = roofline.served(self.work, rate, roofline.Load(self.users, self.prompt, self.answer, self.burst, self.cache_bytes, self.attention_flops))
        predicted = np.select(
            [self.metric == name for name in ("decode", "prompt", "ttft", "tpot", "throughput", "answer")],
            [
                served.step_s,
                served.prompt_s,
                served.time_to_first_token_s,
                served.time_per_output_token_s,
                served.output_tokens_per_s,
                served.time_to_first_token_s + (self.answer - 1) * served.time_per_output_token_s,
            ],
        )
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
    weight = np.array([sqrt(min(counts[group], CLASS_FIGURES) / counts[group]) for group in groups])
    weight /= weight.mean()
    prior = np.array([log(PRIORS[name].value) for name in NAMES])
    spread = np.array([PRIORS[name].spread for name in NAMES])
    pull = TIGHT * sqrt(PRIOR_FIGURES)

    def residuals(logs: Any) -> Any:
        return np.concatenate([weight * columns.log_errors(logs), pull * (logs - prior) / spread])

    most = np.array([0.0 if PRIORS[name].unit == SHARE else HIGH + value for name, value in zip(NAMES, prior, strict=True)])
    begin = np.minimum(prior if start is None else start, most - 0.01)
    from scipy.optimize import least_squares

    def slopes(logs: Any) -> Any:
        return np.concatenate([weight[:, None] * columns.slopes(logs), np.diag(pull / spread)])

    found = least_squares(residuals, begin, jac=slopes, bounds=(prior + LOW, most), loss="soft_l1", f_scale=TIGHT, max_nfev=evaluations, x_scale="jac")
    return found.x


def errors_left_out(figures: Sequence[Measured], key: str) -> Any:
    """Log errors of every figure, predicted by constants fitted on the figures of all others: of other models, GPUs or sources (`key`)."""
    columns, groups = Columns(figures), np.array([getattr(figure, key) for figure in figures])
    everything, errors = fit(figures, columns=columns), np.zeros(len(figures))
    for group in sorted(set(groups)):
        own = groups == group
        others = [figure for figure, left_out in zip(figures, own, strict=True) if not left_out]
        errors[own] = columns.part(own).log_errors(fit(others, everything, 20, columns.part(~own)))
    return errors


def intervals(figures: Sequence[Measured], errors: Any) -> dict[str, dict[str, float]]:
    """By class and metric: the factor within which 80 % of the figures of left-out models lie."""
    by_class: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for figure, error in zip(figures, errors, strict=True):
        by_class[figure.kind][figure.metric].append(abs(float(error)))
    return {
        kind: {metric: round(exp(float(np.quantile(values, 0.8))), 2) for metric, values in sorted(found.items())} for kind, found in sorted(by_class.items())
    }


def seen(figures: Sequence[Measured]) -> dict[str, dict[str, list[str]]]:
    """Which models were measured on which GPU with which engine."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for figure in figures:
        found[figure.work.engine][figure.gpu].add(figure.model)
    return {engine: {gpu: sorted(models) for gpu, models in sorted(by_gpu.items())} for engine, by_gpu in sorted(found.items())}


def document(figures: Sequence[Measured]) -> dict[str, Any]:
    """What speed.json holds."""
    logs = fit(figures, evaluations=100)
    return {
        "fit": {
            "sources": f"{len(figures)} figures of {ROWS.name} (each row with its address)",
            "checked": datetime.now(UTC).date().isoformat(),
            "seen": seen(figures),
        },
        "constants": {name: float(f"{exp(value):.4g}") for name, value in zip(NAMES, logs, strict=True)},
        "units": {name: f"{prior.unit}: {prior.meaning}" for name, prior in PRIORS.items()},
        "new_model": intervals(figures, errors_left_out(figures, "model")),
        "new_gpu": intervals(figures, errors_left_out(figures, "gpu")),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(measured()), indent=1) + "\n")
