"""`plan explain`: a server's log, streamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.command import command, option, output_options
from planner.cli.names import Name
from planner.cli.options import type_of
from planner.cli.own_rows import own_rows
from planner.cli.printing import print_json, print_report, read_input, tell
from planner.engines.causes import MAX_LINE
from planner.errors import FileError, PlannerError
from planner.questions.explain import explain_log
from planner.questions.fields import FIELDS
from planner.reader import is_utf16, lines_of, open_file

if TYPE_CHECKING:
    from planner.questions.share import Start

_STANDARD_OUTPUT = "-"


@command("explain")
@click.argument("log", type=str, required=False)
@option("--gpu", type=Name("gpu"), help="The GPU, where the log does not name it.")
@option("--model", type=Name("model"), help="The model, where the log does not name it.")
@option("--count", type=type_of(FIELDS["count"]), help="How many the machine has; else as many as the command uses.")
@option("--save-calibration", is_flag=True, help="Keep what was observed for this GPU; later plans use it and say so.")
@option(
    "--share",
    is_flag=False,
    flag_value=_STANDARD_OUTPUT,
    metavar="[FILE]",
    help="Instead: the start as JSON that anybody may read, without names, paths or addresses.",
)
@own_rows()
@output_options
@click.pass_context
def explain_command(
    ctx: click.Context, /, log: str | None, gpu: str | None, model: str | None, count: int | None, *, save_calibration: bool, share: str | None, style: str
) -> None:
    """Say what happened in the LOG of a server of vLLM, llama.cpp, Ollama or MLX (a file, a pasted line in quotes, or - for standard input)."""
    if log is None and share not in (None, _STANDARD_OUTPUT):
        log, share = share, _STANDARD_OUTPUT  # `--share server.log`
    if log is None:
        raise click.MissingParameter(ctx=ctx, param=next(param for param in ctx.command.params if param.name == "log"))
    with _lines(log) as lines:
        explained, spec = explain_log(lines, gpu=gpu, model=model, count=count)
    if save_calibration:
        from planner.machine.calibration import save

        tell(f"kept in {save(explained)}", err=True)
    if share is not None:
        from planner.questions.share import start_of

        _share(start_of(explained, spec, is_named=gpu is not None, model=model, count=count), share)
    elif style == "json":
        from planner.report.explained import explain_json

        print_json(explain_json(explained, spec.name if spec else None))
    else:
        from planner.report.explained import render

        print_report(render(explained, spec))
    ctx.exit(0 if explained.observed.started and explained.observed.root_cause is None else 1)


def _share(start: Start, place: str) -> None:
    """Print a start, or write it to a new file."""
    from planner.cli.output import write_files
    from planner.report.head import json_text
    from planner.report.shared import start_json

    text = json_text(start_json(start))
    if place == _STANDARD_OUTPUT:
        tell(text)
        return
    path = Path(place)
    if os.path.lexists(path):
        raise FileError(path, "is there already", "name a new file")
    write_files(path.parent, {path.name: f"{text}\n"}, force=False, manifest=False)
    tell(f"wrote {place}: read it, then send it (CONTRIBUTING.md, A start)", err=True)


@contextmanager
def _lines(log: str) -> Iterator[Iterator[str]]:
    """Lines of bounded length, whatever the file holds."""
    if not log.strip():
        raise PlannerError("no log was given", "a file, a pasted line in quotes, or - for standard input")
    if log == "-":
        yield lines_of(read_input().readline, MAX_LINE)
        return
    path = Path(log)
    if "\n" in log or (" " in log and not _is_file(path)):
        yield lines_of(StringIO(log).readline, MAX_LINE)
        return
    try:
        file = open_file(path)
        encoding = "utf-16" if is_utf16(file.read(2)) else "utf-8"
        file.seek(0)
        with TextIOWrapper(file, encoding=encoding, errors="replace") as stream:
            if "\0" in stream.read(4096):
                raise FileError(path, "is not text", "give the server's log")
            stream.seek(0)
            yield lines_of(stream.readline, MAX_LINE)
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or error})") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a path
        return False
