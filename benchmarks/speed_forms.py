"""Fit, choose and judge on three sets of models that share none: which constants a kernel, an engine or a card has of its own is chosen anew without the judged.

In turn each quarter of the models (by a hash of the name, which nobody chose) is judged. The constants are fitted on two quarters; another quarter says which groups
of special constants help there, and the others fall back to the common ones; with these, fitted on all but the judged, the judged quarter is predicted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks.speed_fit import NAMES, Columns, fit
from benchmarks.speed_rows import Measured

SETS = 4
GROUPS = {  # what falls back to a common constant where it is taken away (planner/speed/constants.py)
    "starts of a layer by card and build": ("layer.vllm.", "layer.llamacpp."),
    "starts of llama.cpp on HBM": ("starts.llamacpp_hbm",),
    "starts of a matrix by engine": ("module.",),
    "layers of experts by engine and arithmetic": ("moe_layer.",),
    "layers of linear attention by engine": ("recurrent_layer.",),
    "widened weights by kernel family": ("bandwidth.weight_only.",),
    "bandwidth of single cards": ("bandwidth.h20", "bandwidth.apple-m1-max", "bandwidth.two_dies.", "bandwidth.llamacpp_hbm"),
    "arithmetic of llama.cpp": ("decode.llamacpp", "prefill.llamacpp", "attention.llamacpp"),
    "first tokens by engine": tuple(f"{name}.{engine}" for name in ("first_token", "steps_before_first", "queue") for engine in ("sglang", "trtllm")),
}


def set_of(model: str) -> int:
    """The quarter a model belongs to."""
    return crc32(model.encode()) % SETS


def without(groups: Iterable[str]) -> tuple[str, ...]:
    """The constants that are left when groups are taken away."""
    taken = tuple(start for group in groups for start in GROUPS[group])
    return tuple(name for name in NAMES if not name.startswith(taken))


def judged(figures: Sequence[Measured]) -> tuple[Any, Counter[str]]:
    """Log errors of every figure, by constants fitted and chosen on the figures of other models; and in how many turns each group was kept."""
    sets, errors, kept = np.array([set_of(figure.model) for figure in figures]), np.zeros(len(figures)), Counter[str]()

    @cache
    def columns(groups: tuple[str, ...]) -> Columns:
        return Columns(figures, without(groups))

    def errors_of(groups: tuple[str, ...], fitted_on: Any, asked: Any) -> Any:
        known = [figure for figure, is_known in zip(figures, fitted_on, strict=True) if is_known]
        return columns(groups).part(asked).log_errors(fit(known, evaluations=20, columns=columns(groups).part(fitted_on)))

    for turn in range(SETS):
        judging, choosing = sets == turn, sets == (turn + 1) % SETS
        taken = dropped(lambda groups, at=choosing, on=~(judging | choosing): float(np.abs(errors_of(groups, on, at)).mean()))
        kept.update(group for group in GROUPS if group not in taken)
        errors[judging] = errors_of(taken, ~judging, judging)
    return errors, kept


def dropped(error: Callable[[tuple[str, ...]], float]) -> tuple[str, ...]:
    """The groups without which, one at a time, the mean error over the choosing set is no larger."""
    whole = error(())
    return tuple(group for group in GROUPS if error((group,)) <= whole)
