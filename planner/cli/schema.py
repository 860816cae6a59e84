"""`plan schema`: JSON Schemas for editors and for those who read the JSON output."""

from __future__ import annotations

import json
from pathlib import Path

import click

from planner.cli.command import command
from planner.cli.printing import print_json
from planner.facts.verdict import SCHEMAS
from planner.report.schemas import json_schema


@command("schema")
@click.argument("what", type=click.Choice(SCHEMAS))
def schema_command(what: str) -> None:
    """Print the JSON Schema of gpus.yaml, models.yaml, a stack file or a JSON output."""
    print_json(json_schema(what))


def write() -> None:
    """Write every schema to schemas/: `python -m planner.cli.schema`."""
    folder = Path(__file__).parents[2] / "schemas"
    folder.mkdir(exist_ok=True)
    for what in SCHEMAS:
        (folder / f"{what}.schema.json").write_text(json.dumps(json_schema(what), indent=1) + "\n")


if __name__ == "__main__":
    write()
