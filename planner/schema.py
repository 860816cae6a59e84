"""JSON Schemas for editors and for those who read the JSON output."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from planner.catalog import GpuRow, ModelRow
from planner.report.contract import PlanJson


def json_schema(what: str) -> dict[str, Any]:
    """The schema of gpus.yaml, models.yaml or the plan JSON."""
    types: dict[str, Any] = {"gpus": list[GpuRow], "models": list[ModelRow], "plan": PlanJson}
    return TypeAdapter(types[what]).json_schema()
