"""Robust least squares by Gauss and Newton's steps, for the fit of the speed constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

TIGHT = 0.15  # residuals up to this count in full (soft L1)
DAMPING = 1e-4  # of the curvature, at the first step
STILL = 1e-6  # of the sum: a step that gains less is the last


def least_squares(residuals: Callable[[Any], Any], slopes: Callable[[Any], Any], begin: Any, bounds: tuple[Any, Any], evaluations: int) -> Any:
    """Where the sum of soft L1 of the residuals is least: Gauss and Newton's steps, damped (Levenberg, Marquardt), by the normal equations; a constant stays inside its bounds.

    A singular value decomposition of all rows at each step (as of scipy) took ten times as long as all else of a fit.
    """
    at, (low, high), damping = begin, bounds, DAMPING
    off = residuals(at)
    for _ in range(evaluations):
        square = (off / TIGHT) ** 2
        slope, curved = slopes(at), np.maximum((1 + square) ** -1.5, np.finfo(float).eps)
        downhill, curvature = slope.T @ (off * (1 + square) ** -0.5), (slope * curved[:, None]).T @ slope
        free = ~((at <= low) & (downhill > 0) | (at >= high) & (downhill < 0))
        for _ in range(10):
            system = curvature + np.diag(damping * np.diag(curvature))
            tried = at.copy()
            tried[free] -= np.linalg.solve(system[np.ix_(free, free)], downhill[free])
            tried = np.clip(tried, low, high)
            reached = residuals(tried)
            if _soft(reached) <= _soft(off):
                break
            damping *= 10
        else:
            return at
        is_last = _soft(reached) >= (1 - STILL) * _soft(off)
        at, off, damping = tried, reached, damping / 10
        if is_last:
            return at
    return at


def _soft(residuals: Any) -> float:
    """Half of the sum of soft L1: squares up to TIGHT, beyond it as absolute errors grow."""
    return float(TIGHT**2 * np.sum(np.sqrt(1 + (residuals / TIGHT) ** 2) - 1))
