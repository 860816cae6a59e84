"""The pictures of a vLLM plan as PNG or SVG, drawn by matplotlib (an extra): the ledger as a bar, the curves with their interval."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from planner.engines.vllm.plan import Plan
from planner.errors import require
from planner.report.curves import Curve, concurrency_curve, speed_curves
from planner.report.lead import headline, outcome
from planner.report.svg import short, ticks
from planner.report.words import LEFT, parts
from planner.units import GIB

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "weights": "#0a58ca", "buffers": "#0b7285", "outside torch": "#8a3ffc", "activation": "#b35900", "CUDA graphs": "#55740b", "KV cache": "#1a7f37", LEFT: "#8c959f",
}  # fmt: skip


def figure(plan: Plan, kind: str) -> bytes:
    """The file's bytes; `kind` is png or svg. Raises MissingLibraryError where matplotlib is not installed."""
    require(f"--{kind}", "matplotlib", otherwise="--html FILE")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = [one for one in (concurrency_curve(plan), *(speed_curves(plan) or ())) if one is not None] if plan.verdict != "does_not_start" else []
    whole = Figure(figsize=(9, 1.6 + 3.2 * len(drawn)), layout="constrained")
    axes = whole.subplots(1 + len(drawn), 1, height_ratios=[0.45, *([1.0] * len(drawn))], squeeze=False)[:, 0]
    whole.suptitle(f"{plan.repo} on {plan.request.group.label}: {headline([outcome(plan)]).words}", fontsize=11)
    _ledger(axes[0], plan)
    for place, one in zip(axes[1:], drawn, strict=True):
        _curve(place, one)
    out = io.BytesIO()
    # without a date and with fixed ids the same plan is the same file
    with rc_context({"svg.hashsalt": "plan"}):
        whole.savefig(out, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return out.getvalue()


def _ledger(place: Axes, plan: Plan) -> None:
    start = 0.0
    for name, size in parts(plan):
        width = max(0, size) / GIB
        place.barh(0, width, left=start, color=COLOURS[name], label=f"{name} {size / GIB:.2f}")
        start += width
    total = plan.choice.expected.total_bytes / GIB
    place.axvline(total, color="black", linewidth=1)
    place.set(yticks=[], xlim=(0, max(total, start) * 1.02), xlabel=f"GiB of one GPU ({total:.2f})")
    place.legend(ncols=3, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, 1.75), frameon=False)


def _curve(place: Axes, drawn: Curve) -> None:
    x, low, middle, high = zip(*drawn.points, strict=True)
    place.fill_between(x, low, high, alpha=0.2)
    place.plot(x, middle, marker="o")
    place.set(xscale="log", yscale="log", xlabel=drawn.x_label, ylabel=drawn.y_label)
    place.set_title(drawn.title, fontsize=9)
    every = max(1, len(x) // 8)
    place.set_xticks(x[::every], [short(value) for value in x[::every]])
    marks = ticks(min(value for value in low if value > 0), max(high))
    place.set_yticks(marks, [short(value) for value in marks])
    place.minorticks_off()
    place.grid(alpha=0.3)
