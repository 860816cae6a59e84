"""Our own answers from what the fit had not seen: H100 starts with their model family left out, reported ones without those of the same GPU."""

from __future__ import annotations

from typing import Any

from benchmarks import accuracy, consumer, field
from benchmarks.calibrate import classes, fitted, told, using, without_margins
from benchmarks.consumer import Reported
from benchmarks.estimators import Question
from benchmarks.starts import Start, starts
from planner.engines.vllm import coefficients
from planner.units import GIB


def left_out(questions: list[Question]) -> dict[str, dict[str, Any]]:
    """Answers by question. Of an H100 that was reported only what other reports say is left out: its table is what everything is fitted on."""
    return _families([question for question in questions if question.group == "H100"]) | _machines([q for q in questions if q.group != "H100"])


def _families(questions: list[Question]) -> dict[str, dict[str, Any]]:
    rows = list(zip(starts(), questions, strict=True)) if questions else []
    found: dict[str, dict[str, Any]] = {}
    for family in sorted({start.model.family for start, _ in rows}):
        others: list[Start] = [start for start, _ in rows if start.model.family != family]
        with using(fitted(others, coefficients.coefficients())):
            for start, question in rows:
                if start.model.family == family:
                    error = accuracy.errors(start)
                    sizes = {"weights_gib": start.weights_gib * (1 + error["weights"] / 100), "kv_gib": start.kv_cache_gib * (1 + error["kv"] / 100)}
                    found[question.id] = {name: round(size, 4) for name, size in sizes.items()} | {"starts": error["kv"] > -100}
    return found


def _machines(questions: list[Question]) -> dict[str, dict[str, Any]]:
    shipped = coefficients.coefficients()
    with using(without_margins(shipped)):
        reports = told() if questions else []
    found: dict[str, dict[str, Any]] = {}
    for gpu in sorted({question.gpu for question in questions}):
        with using(without_margins(shipped)):
            margins = classes([(row, left) for row, left in reports if left.gpu != gpu])
        names = {question.id for question in questions if question.gpu == gpu}
        with using(shipped | {"classes": margins}):
            found |= {row.name: _answer(row) for row in (*consumer.reported(names), *field.reported(names))}
    return found


def _answer(row: Reported) -> dict[str, Any]:
    plan, verdict = row.checked.plan, row.checked.verdict
    starts_ = None if verdict == "unknown" else not verdict.falls_short
    if plan is None:
        return {"weights_gib": None, "kv_gib": None, "starts": starts_}
    ledger = plan.choice.expected
    return {
        "weights_gib": round((ledger.weights_bytes + ledger.buffers_bytes) / GIB, 4), "kv_gib": round(ledger.kv_cache_bytes / GIB, 4), "starts": starts_,
    }  # fmt: skip
