"""Points on two logarithmic axes as text, as wide as there is room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, log10

MARKS = "ox+*#%@"
LEAST_WIDTH = 40


def scatter(series: Sequence[tuple[str, Sequence[tuple[float, float]]]], *, x_label: str, y_label: str, width: int, height: int = 16) -> str:
    """The chart: a sign for each series, its legend below; `width` counts everything, at least 40. Values are above 0."""
    points = [point for _, series_points in series for point in series_points]
    x = _axis([point[0] for point in points])
    y = _axis([point[1] for point in points])
    names = {mark: _name(mark) for mark in y.marks}
    margin = max(len(name) for name in names.values()) + 1
    columns = max(width, LEAST_WIDTH) - margin - 1
    grid = [[" "] * columns for _ in range(height)]
    for sign, (_, series_points) in zip(MARKS, series, strict=False):
        for dot in series_points:
            grid[height - 1 - _place(y, dot[1], height)][_place(x, dot[0], columns)] = sign
    rows = {height - 1 - _place(y, mark, height): name for mark, name in names.items()}
    lines = [y_label]
    lines += [f"{rows.get(number, ''):>{margin - 1}} |{''.join(row)}".rstrip() for number, row in enumerate(grid)]
    lines.append(" " * margin + "+" + "-" * columns)
    lines.append(" " * (margin + 1) + _ticks(x, columns))
    lines.append(" " * (margin + 1) + x_label)
    lines += [f"{sign} {name}" for sign, (name, _) in zip(MARKS, series, strict=False)]
    return "\n".join(line.rstrip() for line in lines)


class _Axis:
    def __init__(self, low: float, high: float, marks: Sequence[float]) -> None:
        self.low, self.high, self.marks = low, high, marks


def _axis(values: Sequence[float]) -> _Axis:
    """From a round number below to one above, with 1, 2 and 5 times powers of ten between them."""
    powers = range(floor(log10(min(values))), ceil(log10(max(values))) + 1)
    steps = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    low = max(step for step in steps if step <= min(values) * 1.001)
    high = min([step for step in steps if step >= max(values) * 0.999] or [steps[-1]])
    marks = [step for step in steps if low <= step <= high]
    return _Axis(low, high if high > low else low * 10, marks)


def _place(axis: _Axis, value: float, cells: int) -> int:
    """The cell of a value, of `cells` from the axis' lower end to its upper one."""
    share = (log10(value) - log10(axis.low)) / (log10(axis.high) - log10(axis.low))
    return min(cells - 1, max(0, round(share * (cells - 1))))


def _name(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _ticks(axis: _Axis, columns: int, name: Callable[[float], str] = _name) -> str:
    """The marks' names below the axis; one that would touch its neighbour is left out."""
    line = ""
    for mark in axis.marks:
        text = name(mark)
        start = max(0, min(columns - len(text), _place(axis, mark, columns) - len(text) // 2))
        if not line or start > len(line):
            line = line.ljust(start) + text
    return line
