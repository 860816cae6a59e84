"""An answer as its readers see it: text in a terminal, one JSON object, one HTML page, pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from planner.errors import PlannerError, require

if TYPE_CHECKING:
    from rich.console import Console

    from planner.questions.local import LocalAnswer
    from planner.questions.vllm import Answer
    from planner.report.view import View


def answer_json(answer: Answer | LocalAnswer, files: list[str]) -> Any:
    """The JSON object, with the paths of the files that were written."""
    if hasattr(answer, "stack"):
        from planner.report.contract import plan_json

        return plan_json(answer.stack, answer.deployment, files, answer.question)
    from planner.report.local import local_json

    return local_json(answer.plans, answer.deployment, files, answer.question)


def answer_view(answer: Answer | LocalAnswer, files: Iterable[str] = ()) -> View:
    """What the page shows."""
    from planner.report.view import local_view, stack_view

    if hasattr(answer, "stack"):
        return stack_view(answer.stack, answer.deployment, files)
    return local_view(answer.plans, answer.deployment, files)


def answer_page(answer: Answer | LocalAnswer, command_line: str) -> str:
    """The report as one HTML page."""
    require("--html", "jinja2")
    from planner.report.html import report

    return report(answer_view(answer), command_line)


def answer_figure(answer: Answer | LocalAnswer, kind: str) -> bytes:
    """The pictures of the main server as PNG or SVG. Raises PlannerError where there are none: the curves are vLLM's."""
    if not hasattr(answer, "stack"):
        raise PlannerError(f"--{kind} draws plans for vLLM", "--html FILE shows this one")
    from planner.report.figure import figure

    return figure(answer.stack.main, kind)


def show_answer(answer: Answer | LocalAnswer, console: Console, folder: str = "") -> None:
    """Print the report; `folder` is where its files will lie."""
    if hasattr(answer, "stack"):
        from planner.report.terminal import show

        show(answer.stack, console, folder)
    else:
        from planner.report.local import show as show_local

        show_local(answer.plans, answer.deployment, console, folder)
