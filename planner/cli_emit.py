"""`plan emit`: write a plan's files again, in further formats, without planning again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from planner.cli_command import command, option
from planner.deployment import Deployment
from planner.emit import FORMATS, emit, emit_formats, read_formats
from planner.errors import PlannerError
from planner.output import write_files
from planner.stack_file import address, is_label

MAX_FILE_BYTES = 4 * 1024 * 1024
_LIST = "\n".join(f"  {name:9} {what}" for name, (_, _, what) in FORMATS.items())


@command("emit", epilog=f"\b\nFormats:\n{_LIST}")
@click.argument("plan", type=click.Path(path_type=Path))
@option("--to", multiple=True, metavar="FORMAT", help="Formats, comma separated; without it the scripts for this machine again.")
@option("--output", type=click.Path(path_type=Path), help="Folder for the files (default: that of plan.json).")
@option("--force", is_flag=True, help="Overwrite files that were edited.")
def emit_command(plan: Path, to: tuple[str, ...], output: Path | None, *, force: bool) -> None:
    """Write the files of a plan.json again, in other formats too; nothing is planned anew."""
    deployment = read_deployment(plan)
    formats = read_formats(to)
    texts = emit_formats(deployment, formats) if formats else emit(deployment)
    for name in write_files(output or (plan if plan.is_dir() else plan.parent), texts, force=force):
        click.echo(f"wrote {name}")


def read_deployment(path: Path) -> Deployment:
    """What a plan.json says is to run where. Raises PlannerError for a file that holds no plan."""
    from pydantic import TypeAdapter, ValidationError

    try:
        if path.is_dir():
            path = path / "plan.json"
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PlannerError(f"{path}: too large for a plan")
        data: Any = json.loads(path.read_text("utf-8"))
        return _checked(TypeAdapter(Deployment).validate_json(json.dumps(data["deployment"])), path)
    except OSError as error:
        raise PlannerError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        where = f": {'.'.join(map(str, error.errors()[0]['loc']))}" if isinstance(error, ValidationError) else ""
        raise PlannerError(f"{path} is no plan.json of this version{where}", "`plan … --output DIR` writes one") from None


def _checked(deployment: Deployment, path: Path) -> Deployment:
    """Refuse names and addresses that no plan has: they become file names, and go into scripts. Raises ValueError."""
    words = [deployment.gpu, *(service.alias for service in deployment.services), *(service.served_name for service in deployment.services)]
    if not deployment.services or not all(is_label(service.name) for service in deployment.services):
        raise ValueError(path)
    for host in (deployment.bind, *(service.host for service in deployment.services)):
        address(host)
    if any(character in word for word in words for character in "\n\r\0") or any("\n" in word for service in deployment.services for word in service.argv):
        raise ValueError(path)
    return deployment
