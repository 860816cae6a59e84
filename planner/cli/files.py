"""The command line's files: the answer is printed first; what cannot be written then is one line on standard error, and never costs the answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.output import PLAN, can_write, write_files
from planner.cli.printing import print_report, tell
from planner.errors import PlannerError, WorldError, one_line, require
from planner.facts.record import dataclass
from planner.questions.question import folder_name, words
from planner.report.contract import plan_json
from planner.report.head import json_text
from planner.text import shown

if TYPE_CHECKING:
    from planner.cli.values import PlanValues
    from planner.questions.plan import Answer

OUTPUTS = Path("outputs")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Files that are to be written to one folder once the answer is printed; `is_asked` where an option names the place."""

    folder: Path
    names: tuple[str, ...]
    texts: Callable[[], Mapping[str, str | bytes]]
    is_asked: bool
    is_plan: bool = False

    @property
    def paths(self) -> list[str]:
        """Where they will lie."""
        return [str(self.folder / name) for name in self.names]


def finish(answer: Answer, values: PlanValues) -> int:
    """Print the answer, then write its files; the exit code: the answer's, or that of a file that was asked for and could not be written."""
    wanted = [*_plan_files(answer, values), *_pictures(answer, values)]
    answered = 0 if answer.requirements_met else 1
    if values.style == "json":
        text = json_text(plan_json(answer, [path for files in wanted for path in files.paths]))
        code = say(lambda: tell(text))
    else:
        code = say(lambda: _show(answer, _folder_to_run(answer, wanted, force=values.force)))
    for files in wanted:
        try:
            may_replace = answer.requirements_met or not files.is_plan
            written = write_files(files.folder, files.texts(), force=values.force, may_replace=may_replace, manifest=files.is_plan)
        except PlannerError as error:
            tell(one_line(error.message, error.hint), err=True)
            code = max(code, error.exit_code if files.is_asked else 0)
            continue
        if values.style != "json":
            code = max(code, say(lambda: tell(_told(files, written))))  # noqa: B023 - called at once
    return code or answered


def _folder_to_run(answer: Answer, wanted: Iterable[Wanted], *, force: bool) -> str:
    """The folder that will hold this plan's scripts; empty where none will be written, or what lies there stays."""
    plans = (files for files in wanted if files.is_plan)
    return next((str(files.folder) for files in plans if can_write(files.folder, files.texts(), force=force, may_replace=answer.requirements_met)), "")


def _show(answer: Answer, folder: str) -> None:
    from planner.report.terminal import render

    print_report(render(answer, folder))


def _told(wanted: Wanted, written: list[str]) -> str:
    place = shown(str(wanted.folder) if wanted.is_plan else wanted.paths[0], 4096)
    if not written:
        return f"{place} holds this already"
    return f"wrote {place}: {', '.join(written)}" if wanted.is_plan else f"wrote {place}"


def say(write: Callable[[], None]) -> int:
    """Write to standard output, at once; the exit code where it cannot be written. Who reads only the head of it has closed it: no fault."""
    if sys.stdout is None:  # closed by who started us
        return 0
    try:
        write()
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still held back goes there
        if not isinstance(error, BrokenPipeError):
            failed = WorldError(f"the answer cannot be written to standard output ({error.strerror or error})")
            tell(one_line(failed.message), err=True)
            return failed.exit_code
    return 0


def _plan_files(answer: Answer, values: PlanValues) -> Iterator[Wanted]:
    """The plan's folder: where --output says, else a folder of its question's own, which JSON is not written to unasked."""
    asked = values.output
    formats = tuple(answer.question.get("to", ()))
    if values.style == "json" and formats and not (asked or values.dry_run):
        raise PlannerError("--to is about files, and --format json writes none unasked", "--output DIR says where")
    if not answer.starts or values.dry_run:
        return
    from planner.emit import files_of

    texts = files_of(answer.deployment, formats)  # a format that cannot hold the plan is refused before anything is said
    if asked is None and values.style == "json":
        return
    folder = asked or OUTPUTS / folder_name(answer.question)
    names = (*texts, PLAN)
    plan = plan_text(answer, folder, names)
    yield Wanted(folder, names, lambda: texts | {PLAN: plan}, is_asked=asked is not None, is_plan=True)


def plan_text(answer: Answer, folder: Path, names: Iterable[str]) -> str:
    """plan.json, which names the files beside it."""
    return json_text(plan_json(answer, [str(folder / name) for name in names])) + "\n"


def _pictures(answer: Answer, values: PlanValues) -> Iterator[Wanted]:
    """The page and the picture."""
    drawn: list[tuple[Path | None, Callable[[Answer], str]]] = [(values.html, _page), (values.svg, _picture)]
    for path, draw in drawn:
        if path is not None:
            yield Wanted(path.parent, (path.name,), partial(_drawn, path.name, draw, answer), is_asked=True)


def _drawn(name: str, draw: Callable[[Answer], str], answer: Answer) -> Mapping[str, str]:
    return {name: draw(answer)}


def _page(answer: Answer) -> str:
    require("--html", "jinja2")
    from planner.report.html import report
    from planner.report.view import view_of

    return report(view_of(answer), words(answer.question))


def _picture(answer: Answer) -> str:
    from planner.report.picture import picture
    from planner.report.view import view_of

    return picture(view_of(answer))
