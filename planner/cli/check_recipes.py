"""`plan check --recipes DIR`: vLLM's repository of recipes as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

from planner.cli.check_files import report_text
from planner.cli.printing import tell
from planner.facts.finding import FailOn
from planner.report.head import json_text


def check_recipes(ctx: click.Context, folder: Path, fail_on: FailOn, style: str) -> NoReturn:
    """Judge the recipes, print the report for their maintainers, and end with 1 where a command is too bad."""
    from planner.questions.recipes.judge import judge_recipes
    from planner.report.recipes import as_files, recipes_json, recipes_markdown, recipes_patch

    judged = judge_recipes(folder)
    match style:
        case "json":
            tell(json_text(recipes_json(judged)))
        case "patch":
            tell(recipes_patch(judged))
        case "sarif" | "github":
            tell(report_text(as_files(judged), style))
        case _:
            tell(recipes_markdown(judged))
    ctx.exit(fail_on.fails(judged.verdict))
