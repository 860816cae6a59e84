"""Pictures as SVG: a stacked bar of the ledger, curves with their interval. Geometry here, colours in the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from planner.facts.curve import Curve
from planner.units import GIB

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 44
BAR_HEIGHT = 44
LEAST = 1e-3  # what a logarithmic axis begins at where a value is nearly nothing
HEAD, GAP = 32, 12  # of a sheet: its title, and what lies between pictures


def _svg(kind: str, title: str, description: str, height: int) -> Element:
    """A picture with a name and a text for those who do not see it."""
    name = f"{kind}-title"
    svg = Element("svg", {"viewBox": f"0 0 {WIDTH} {height}", "role": "img", "aria-labelledby": f"{name} {kind}-desc", "class": f"chart {kind}"})
    SubElement(svg, "title", {"id": name}).text = title
    SubElement(svg, "desc", {"id": f"{kind}-desc"}).text = description
    return svg


def _text(parent: Element, x: float, y: float, text: str, **more: str) -> None:
    SubElement(parent, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", **{name.rstrip("_").replace("_", "-"): value for name, value in more.items()}}).text = text


def slug(name: str) -> str:
    """A name as a class of the style sheet."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def ledger_bar(parts: Sequence[tuple[str, int]], total_bytes: int) -> str:
    """What each part takes of one GPU; parts that exceed it are cut at its edge, the text has them whole."""
    words = "; ".join(f"{name} {size / GIB:.2f} GiB" for name, size in parts)
    svg = _svg("ledger", "Memory of one GPU", f"{words}; of {total_bytes / GIB:.2f} GiB.", BAR_HEIGHT + 4)
    SubElement(svg, "rect", {"class": "empty", "x": "0", "y": "2", "width": str(WIDTH), "height": str(BAR_HEIGHT), "rx": "4"})
    start = 0.0
    for name, size in parts:
        width = min(max(0, size) / total_bytes * WIDTH, WIDTH - start)
        group = SubElement(svg, "g", {"class": f"part-{slug(name)}"})
        SubElement(group, "title").text = f"{name}: {size / GIB:.2f} GiB"
        SubElement(group, "rect", {"x": f"{start:.1f}", "y": "2", "width": f"{width:.1f}", "height": str(BAR_HEIGHT)})
        if width > 8 * len(name):
            _text(group, start + width / 2, 2 + BAR_HEIGHT / 2 + 5, name, text_anchor="middle")
        start += width
    return tostring(svg, encoding="unicode")


def short(value: float) -> str:
    """A tick's label: 128K, 1M, 0.5."""
    if value >= 1024 and value % 1024 == 0:
        return f"{value / 1024**2:g}M" if value % 1024**2 == 0 else f"{value / 1024:g}K"
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from `low` to `high`; of more than two decades the powers alone."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    steps = (1, 2, 5) if high / low <= 100 else (1,)
    return [step * 10.0**power for power in powers for step in steps if low * 0.999 <= step * 10.0**power <= high * 1.001]


class _Scale:
    """A logarithmic axis from `low` to `high` over pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = log10(low), log10(high if high > low else 10 * low)
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        share = (log10(max(value, 10**self.low)) - self.low) / (self.high - self.low)
        return self.start + min(1.0, share) * (self.end - self.start)


def curve(drawn: Curve) -> str:
    """A curve with its interval on two logarithmic axes."""
    highest, lowest = max(point[3] for point in drawn.points), min((point[1] for point in drawn.points if point[1] > 0), default=0.1)
    floor_y, ceil_y = _round(lowest, down=True), _round(highest, down=False)
    x = _Scale(drawn.points[0][0], drawn.points[-1][0], LEFT, WIDTH - RIGHT)
    y = _Scale(floor_y, ceil_y, HEIGHT - BOTTOM, TOP)
    middle = "; ".join(f"{short(point[0])}: {point[2]:.3g} ({point[1]:.3g} to {point[3]:.3g})" for point in drawn.points)
    svg = _svg(drawn.kind, drawn.title, f"{drawn.y_label} by {drawn.x_label}. {middle}.", HEIGHT)
    _grid(svg, drawn, x, y, ticks(floor_y, ceil_y))
    band = [f"{x(point[0]):.1f},{y(point[3]):.1f}" for point in drawn.points] + [f"{x(point[0]):.1f},{y(point[1]):.1f}" for point in reversed(drawn.points)]
    SubElement(svg, "polygon", {"class": "band", "points": " ".join(band)})
    SubElement(svg, "polyline", {"class": "line", "points": " ".join(f"{x(point[0]):.1f},{y(point[2]):.1f}" for point in drawn.points)})
    for point in drawn.points:
        dot = SubElement(svg, "circle", {"class": "dot", "cx": f"{x(point[0]):.1f}", "cy": f"{y(point[2]):.1f}", "r": "4"})
        SubElement(dot, "title").text = f"{short(point[0])}: {point[2]:.3g} ({point[1]:.3g} to {point[3]:.3g})"
    return tostring(svg, encoding="unicode")


def _round(value: float, *, down: bool) -> float:
    """The next of 1, 2, 5 times a power of ten that is not above, or not below."""
    value = max(value, LEAST)
    power = 10.0 ** floor(log10(value))
    steps = [step * power for step in (1, 2, 5, 10)]
    return max(step for step in steps if step <= value * 1.001) if down else min(step for step in steps if step >= value * 0.999)


def _grid(svg: Element, drawn: Curve, x: _Scale, y: _Scale, marks: Sequence[float]) -> None:
    axes = SubElement(svg, "g", {"class": "axes"})
    for tick in marks:
        SubElement(axes, "line", {"x1": str(LEFT), "x2": str(WIDTH - RIGHT), "y1": f"{y(tick):.1f}", "y2": f"{y(tick):.1f}"})
        _text(axes, LEFT - 6, y(tick) + 4, short(tick), text_anchor="end")
    every = max(1, ceil(len(drawn.points) / 9))
    for number, point in enumerate(drawn.points):
        last = number == len(drawn.points) - 1
        if last or (number % every == 0 and x(drawn.points[-1][0]) - x(point[0]) > 36):
            _text(axes, x(point[0]), HEIGHT - BOTTOM + 16, short(point[0]), text_anchor="middle")
    _text(axes, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, drawn.x_label, text_anchor="middle", class_="label")
    _text(axes, 0, 0, drawn.y_label, text_anchor="middle", class_="label", transform=f"translate(14 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)")


def sheet(title: str, pictures: Sequence[str], style: str) -> str:
    """Pictures below each other as one file that needs nothing else; `style` is the page's style sheet."""
    heights = [int(picture.partition('viewBox="0 0 640 ')[2].partition('"')[0]) for picture in pictures]
    whole = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {WIDTH} {HEAD + sum(heights) + GAP * len(heights)}", "role": "img"})
    SubElement(whole, "title").text = title
    SubElement(whole, "style").text = style
    SubElement(whole, "rect", {"class": "sheet", "width": "100%", "height": "100%"})
    _text(whole, 0, HEAD - GAP, title, class_="label")
    top = HEAD
    for picture, height in zip(pictures, heights, strict=True):
        drawing = fromstring(picture)  # noqa: S314 - our own
        drawing.attrib |= {"y": str(top), "width": str(WIDTH), "height": str(height)}
        whole.append(drawing)
        top += height + GAP
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(whole, encoding="unicode")}\n'
