"""`plan diff OLD NEW`, and `plan check --against plan.json`: what moved since a plan was made."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import NoReturn

import click

from planner.cli.command import command, output_options
from planner.cli.printing import print_json, print_report
from planner.errors import FileError
from planner.facts.document import JsonObject, json_object
from planner.facts.question import StackRow
from planner.questions.drift import drift, read_answer


@command("diff")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@output_options
@click.pass_context
def diff_command(ctx: click.Context, old: Path, new: Path, style: str) -> None:
    """Say what moved between two plans (plan.json, its folder, or the --json of a plan or a check): verdict, flags, GiB, tokens, speed.

    Exit code 1 where the verdict got worse, or what was met no longer is.
    """
    print_drift(ctx, read_answer(old), read_answer(new), style)


def check_against(ctx: click.Context, path: Path, style: str) -> NoReturn:
    """Ask the question of a plan.json, or of a checked command, again, and say what moved since then."""
    saved = read_answer(path)
    print_drift(ctx, saved, asked_again(saved, path), style)


def asked_again(saved: JsonObject, path: Path) -> JsonObject:
    """Today's answer to the question of a saved plan or check. Raises FileError for one that does not hold its question."""
    import json

    from planner.questions.check_text import check_again
    from planner.questions.plan import answer_for
    from planner.questions.stack_file import stack_row
    from planner.report.contract import check_json, plan_json

    asked = json_object(saved.get("question"))
    if not asked:
        raise FileError(
            path, "does not hold the question that it answers", "plan … --output DIR writes a plan.json which does, plan check COMMAND --json prints one"
        )
    if "command" in asked:
        checked: JsonObject = json.loads(json.dumps(check_json(check_again(asked, path), asked)))
        return checked
    said = {name: value for name, value in asked.items() if name in {field.name for field in fields(StackRow)}}
    row = stack_row(said, str(path), lambda index: f"{path}: services[{index}]")
    port = asked.get("first_port")
    answer: JsonObject = json.loads(json.dumps(plan_json(answer_for(row, port if isinstance(port, int) else None), [])))
    return answer


def print_drift(ctx: click.Context, old: JsonObject, new: JsonObject, style: str) -> NoReturn:
    """Print what moved, and end with 1 where it got worse."""
    from planner.report.drift import drift_json, render_drift

    moved = drift(old, new)
    print_json(drift_json(moved)) if style == "json" else print_report(render_drift(moved))
    ctx.exit(int(moved.is_worse))
