"""JSON Schemas for editors and for those who read the JSON output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from planner.catalogue.load import Entry, catalogue_path, digest, model_rows
from planner.catalogue.rows import GpuRow, ModelRow, PriceFile
from planner.catalogue.sizes import computed_bytes
from planner.catalogue.validation import first_fault
from planner.errors import CatalogError
from planner.facts.question import StackRow
from planner.facts.verdict import SCHEMAS
from planner.report.capacity import CapacityJson
from planner.report.chosen import MachinesJson, ModelsJson
from planner.report.contract import CheckJson, PlanJson
from planner.report.explained import ExplainJson
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
from planner.report.local import LocalJson


def json_schema(what: str) -> dict[str, object]:
    """The schema of gpus.yaml, models.yaml, a stack file or a JSON output."""
    types: dict[str, Any] = {
        "gpus": list[GpuRow],
        "models": list[ModelRow],
        "prices": PriceFile,
        "stack": StackRow,
        "local": LocalJson,
        "plan": PlanJson,
        "check": CheckJson,
        "explain": ExplainJson,
        "capacity": CapacityJson,
        "compare": OneComparisonJson | ComparisonsJson,
        "front": FrontJson,
        "bench": BenchJson,
        "list": GpusJson | ListedModelsJson | ArchitecturesJson,
        "sweep": SweepJson,
        "config": ConfigJson,
        "verify": VerifyJson,
        "chosen-models": ModelsJson,
        "chosen-machines": MachinesJson,
    }
    return TypeAdapter(types[what]).json_schema()


def release() -> None:
    """Validate both catalogues and write down that these bytes are valid, and their schemas: `python -m planner.cli.schema`."""
    for name, row_type in (("gpus.yaml", GpuRow), ("models.yaml", ModelRow)):
        path = catalogue_path(name)
        for data in yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader):
            if fault := first_fault(data, row_type):
                raise CatalogError(f"{name}: {data.get('name')}: {fault}")
    root = Path(__file__).parents[1]
    valid = {name: digest(catalogue_path(name)) for name in ("gpus.yaml", "models.yaml")}
    (root / "catalogue" / "validated.json").write_text(json.dumps(valid, indent=1) + "\n")
    entries = [Entry(row, variant) for row in model_rows() for variant in row.variants]
    (root / "catalogue" / "sizes.json").write_text(json.dumps({entry.name: computed_bytes(entry) for entry in entries}, indent=1) + "\n")
    schemas = root.parent / "schemas"
    schemas.mkdir(exist_ok=True)
    for what in SCHEMAS:
        (schemas / f"{what}.schema.json").write_text(json.dumps(json_schema(what), indent=1) + "\n")


if __name__ == "__main__":
    release()
