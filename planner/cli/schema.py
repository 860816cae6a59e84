"""`plan schema`: JSON Schemas for editors and for those who read the JSON output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter

from planner.catalogue.rows import PriceFile
from planner.catalogue.written import WrittenGpu, WrittenModel
from planner.cli.command import command
from planner.cli.printing import print_json
from planner.facts.question import StackRow
from planner.facts.verdict import SCHEMAS
from planner.report.capacity import CapacityJson
from planner.report.chosen import ModelsJson
from planner.report.contract_parts import CheckJson, PlanJson, SettingsJson
from planner.report.cost_json import CostJson
from planner.report.drift import DriftJson
from planner.report.explained import ExplainJson
from planner.report.files import FilesJson
from planner.report.head import SCHEMA
from planner.report.listings import (
    ArchitecturesJson,
    BenchJson,
    ComparisonsJson,
    ConfigJson,
    FrontJson,
    GpusJson,
    ListedModelsJson,
    OneComparisonJson,
    SweepJson,
    VerifyJson,
)
from planner.report.machines import MachinesJson
from planner.report.proxy import ProxyCheckJson
from planner.report.recipes import RecipesJson
from planner.report.replay import ReplayJson

DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""What pydantic writes."""


@command("schema")
@click.argument("what", type=click.Choice(SCHEMAS))
def schema_command(what: str) -> None:
    """Print the JSON Schema of gpus.yaml, models.yaml, a stack file or a JSON output."""
    print_json(json_schema(what))


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


def write() -> None:
    """Write every schema to schemas/: `python -m planner.cli.schema`."""
    folder = Path(__file__).parents[2] / "schemas"
    folder.mkdir(exist_ok=True)
    for what in SCHEMAS:
        (folder / f"{what}.schema.json").write_text(json.dumps(json_schema(what), indent=1) + "\n")


if __name__ == "__main__":
    write()
