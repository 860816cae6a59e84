"""A view as HTML: the self-contained report, and the parts of the page. Jinja escapes every value; styles and scripts are our own files."""

from __future__ import annotations

import base64
import hashlib
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from planner.report.picture import static
from planner.report.view import View
from planner.version import VERSION


@cache
def environment() -> Environment:
    """The templates of planner/web/templates."""
    return Environment(loader=PackageLoader("planner.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def render(template: str, **values: object) -> str:
    """A template with its values."""
    return environment().get_template(template).render(**values)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def report(view: View, command_line: str) -> str:
    """One page that needs nothing else: no network, no file beside it. It says by which command it was made."""
    made = f"made by {command_line} (serve-plan {VERSION})"
    style, script = static("style.css"), static("copy.js")
    values = {"style": style, "script": script, "style_hash": _digest(style), "script_hash": _digest(script)}
    nowhere = {"address": lambda _: "", "checked": lambda _: "", "linked": lambda text: [(text, "")]}
    return render("report.html", view=view, made=made, downloads=False, **nowhere, **values)
