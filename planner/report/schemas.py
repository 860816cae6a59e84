"""The JSON Schemas of the files that are read and of the answers, from the types that say what stands there."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from planner.catalogue.rows import PriceFile
from planner.catalogue.written import WrittenGpu, WrittenModel
from planner.facts.question import StackRow
from planner.report.capacity import CapacityJson
from planner.report.chosen import ModelsJson
from planner.report.compare_json import ComparisonsJson, OneComparisonJson
from planner.report.contract_parts import CheckJson, PlanJson, SettingsJson
from planner.report.cost_json import CostJson
from planner.report.drift import DriftJson
from planner.report.explained import ExplainJson
from planner.report.files import FilesJson
from planner.report.head import SCHEMA
from planner.report.listings import (
    ArchitecturesJson,
    BenchJson,
    ConfigJson,
    FrontJson,
    GpusJson,
    ListedModelsJson,
    SweepJson,
    VerifyJson,
)
from planner.report.machines import MachinesJson
from planner.report.proxy import ProxyCheckJson
from planner.report.recipes import RecipesJson
from planner.report.replay import ReplayJson
from planner.report.shared import StartJson

DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""What pydantic writes."""


def json_schema(what: str) -> dict[str, object]:
    """The schema of gpus.yaml, models.yaml, a stack file or a JSON output."""
    types: dict[str, Any] = {
        "gpus": list[WrittenGpu],
        "models": list[WrittenModel],
        "prices": PriceFile,
        "stack": StackRow,
        "plan": PlanJson,
        "check": CheckJson | ProxyCheckJson | FilesJson | RecipesJson,
        "explain": ExplainJson,
        "start": StartJson,
        "capacity": CapacityJson | ReplayJson,
        "compare": OneComparisonJson | ComparisonsJson,
        "cost": CostJson,
        "diff": DriftJson,
        "front": FrontJson,
        "bench": BenchJson,
        "list": GpusJson | ListedModelsJson | ArchitecturesJson,
        "sweep": SweepJson,
        "config": ConfigJson,
        "verify": VerifyJson,
        "chosen-models": ModelsJson,
        "chosen-machines": MachinesJson,
    }
    setattr(SettingsJson, "__pydantic_config__", {"extra": "allow"})  # noqa: B010 - an engine may have settings of its own
    schema = {"$schema": DIALECT, "$id": f"urn:serve-plan:schema:{SCHEMA}:{what}"} | TypeAdapter(types[what]).json_schema()
    for written in (WrittenGpu, WrittenModel):
        _describe(schema.get("$defs", {}).get(written.__name__), written.__base__)
    return schema


def _describe(schema: dict[str, Any] | None, base: type | None) -> None:
    """Say of inherited fields what they are: pydantic reads the texts under a class's own fields only."""
    if schema is None or base is None:
        return
    for name, field in TypeAdapter(base).json_schema()["properties"].items():
        if "description" in field:
            schema["properties"][name]["description"] = field["description"]
