"""`plan check` over many files: what it prints of them, and what it ends with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.options import meant_gpus
from planner.cli.output import write_anew
from planner.cli.printing import print_report, tell
from planner.errors import FileError, PlannerError
from planner.facts.command_line import AUTO
from planner.facts.finding import FailOn
from planner.facts.question import StackRow
from planner.facts.record import dataclass
from planner.report.head import json_text
from planner.text import shown, told

if TYPE_CHECKING:
    from planner.facts.finding import JudgedFiles
    from planner.questions.files.machines import Target

_OF_A_FILE = re.compile(r"[^\s'\"|;&<>$`=]*(?:/[^\s'\"|;&<>$`=]*|[^\s'\"|;&<>$`=/]\.(?:sh|bash|ya?ml|env|service|txt|plist|json|toml|log))")


def paths_of(typed: Sequence[str]) -> list[Path]:
    """The files and folders that were given; none where a word is neither, or stands for standard input.

    Raises FileError for a name that can only be a file's, where there is none: alone, or beside files.
    """
    if not typed or any(len(word) >= 4096 or "\n" in word or "\0" in word for word in typed):
        return []
    paths = [Path(word) for word in typed]
    try:
        if all(path.is_file() or path.is_dir() for path in paths):
            return paths
        missing = next((path for path in paths if not path.exists() and _OF_A_FILE.fullmatch(str(path))), None)
        is_beside = any(path.is_file() for path in paths)
    except OSError:  # a command in quotes may be longer than the name of any file
        return []
    if missing and (len(paths) == 1 or is_beside):
        raise FileError(missing, "there is no such file", "a command stands in quotes, or behind --")
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedFiles:
    """What was typed of many files: the machine of those that do not say theirs, what fails, what is printed and written."""

    row: StackRow
    version: str | None
    fail_on: FailOn
    since: str | None
    style: str
    reports: tuple[str, ...]


def asked_target(ctx: click.Context, row: StackRow) -> Target | None:
    """The machine that was typed, with as many GPUs as each container is given where --count was not; None where none was."""
    from planner.questions.files.machines import Target

    if not row.gpu:
        return None
    gpu, count = meant_gpus(ctx, row.gpu, row.count)
    has_count = ctx.get_parameter_source("count") is not click.core.ParameterSource.DEFAULT or row.gpu == AUTO
    return Target(row=replace(row, gpu=gpu or row.gpu, count=count), has_count=has_count)


def check_files(ctx: click.Context, paths: Sequence[Path], typed: AskedFiles) -> None:
    """Judge files and folders, print what is said of them, and end with 1 where the worst verdict is too bad."""
    from planner.questions.files.judge import judge_files, needs_machine
    from planner.questions.files.walk import files_of
    from planner.questions.machine import machine_of

    if typed.style == "patch":
        raise PlannerError("--format patch is of the recipes", "--recipes DIR")
    wanted = [_report(text) for text in typed.reports]
    if asked := asked_target(ctx, typed.row):
        machine_of(asked.row)  # what is typed wrongly is no finding
    judged = judge_files(files_of(paths, typed.since), asked, version=typed.version)
    if needs_machine(judged):
        raise PlannerError(
            "for which GPU these files are, nothing says", "--gpu NAME for all, or a line `# plan: gpu=NAME count=N` in each (docs/pull-requests.md)"
        )
    if typed.style == "text":
        from planner.report.files import render_files

        print_report(render_files(judged))
    else:
        tell(report_text(judged, typed.style))
    for style, file in wanted:
        write_anew(file, told(report_text(judged, style)) + "\n")
    ctx.exit(typed.fail_on.fails(judged.verdict))


def report_text(judged: JudgedFiles, style: str) -> str:
    """What is said of files, in a format that programs read."""
    from planner.report.files import files_json, markdown, workflow_commands
    from planner.report.sarif import sarif

    if style == "json":
        return json_text(files_json(judged))
    return {"sarif": sarif, "markdown": markdown, "github": workflow_commands}[style](judged)


def _report(text: str) -> tuple[str, Path]:
    style, equals, file = text.partition("=")
    if not (equals and file and style in ("json", "sarif", "markdown", "github")):
        raise PlannerError(f"--report {shown(text)}: expected FORMAT=FILE", "--report sarif=plan.sarif")
    return style, Path(file)
