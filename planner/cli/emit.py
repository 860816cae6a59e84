"""`plan emit`: write a plan's files again, in further formats, without planning again."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli.command import command, option
from planner.cli.output import question_in, write_files
from planner.cli.printing import tell
from planner.emit import FORMATS, emit, emit_formats, read_formats
from planner.questions.plan_file import read_deployment

_LIST = "\n".join(f"  {name:9} {what}" for name, (_, _, what) in FORMATS.items())


@command("emit", epilog=f"\b\nFormats:\n{_LIST}")
@click.argument("plan", type=click.Path(path_type=Path))
@option("--to", multiple=True, metavar="FORMAT", help="Formats, comma separated; without it the scripts for this machine again.")
@option("--output", type=click.Path(path_type=Path), help="Folder for the files (default: that of plan.json).")
@option("--force", is_flag=True, help="Overwrite files that were edited, or written for another question.")
def emit_command(plan: Path, to: tuple[str, ...], output: Path | None, *, force: bool) -> None:
    """Write the files of a plan.json again, in other formats too; nothing is planned anew."""
    deployment = read_deployment(plan)
    formats = read_formats(to)
    texts = emit_formats(deployment, formats) if formats else emit(deployment)
    folder = output or (plan if plan.is_dir() else plan.parent)
    written = write_files(folder, texts, force=force, question=question_in(plan))
    tell(f"wrote {folder}: {', '.join(written)}" if written else f"{folder} holds this already")
