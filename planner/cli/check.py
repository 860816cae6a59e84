"""`plan check`: somebody's command, from the command line, a file or standard input."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import click

from planner.cli.command import command, option, output_options
from planner.cli.names import Name
from planner.cli.options import Finite, meant_gpus, type_of
from planner.cli.own_rows import own_rows
from planner.cli.printing import print_report
from planner.engines import ENGINES
from planner.engines.vllm.versions import DEFAULT_VERSION, OLDEST_VERSION
from planner.errors import FileError, PlannerError
from planner.facts.hardware import Host
from planner.facts.question import HostName
from planner.questions.check import check, find_server, group_for
from planner.questions.fields import FIELDS
from planner.questions.find_commands import MAX_TEXT_BYTES


@command("check")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@option("--gpu", required=True, type=Name("gpu"), help="The GPU it is to run on.")
@option("--count", default=1, show_default=True, type=type_of(FIELDS["count"]), help="How many of them the machine has.")
@option(
    "--host", "host_kind", type=click.Choice([str(host) for host in Host]), default="server", show_default=True, help="The kind of machine, not an address."
)
@option("--free", "free_gib", type=Finite(0, min_open=True), help="GiB that are free on each GPU now, where others use it too.")
@option("--ram", type=type_of(FIELDS["ram"]), help="Main memory of the machine, e.g. 256GiB: what lies there is held against it.")
@option("--vllm-version", help=f"{OLDEST_VERSION} to {DEFAULT_VERSION}; else the image's tag, else the newest.")
@own_rows()
@option("--server", type=click.IntRange(1), help="Which one, where a script starts several.")
@output_options
@click.pass_context
def check_command(
    ctx: click.Context,
    /,
    command: tuple[str, ...],
    *,
    gpu: str,
    count: int,
    host_kind: HostName,
    free_gib: float | None,
    ram: int | None,
    vllm_version: str | None,
    server: int | None,
    style: str,
) -> None:
    """Say whether a server's COMMAND starts (vLLM, llama-server, Ollama, MLX): in quotes, after --, as a file (script or compose), or - for standard input."""
    named, count = meant_gpus(ctx, gpu, count)
    process = find_server(_text(command), server)
    if vllm_version:
        process = replace(process, version=vllm_version)
    plan = check(process, group_for(process, named or gpu, count, host_kind, free_gib, ram_bytes=ram or 0))
    if style == "json":
        from planner.report.contract import check_json

        click.echo(json.dumps(check_json(plan), indent=2))
    else:
        from planner.report.terminal import render_check

        print_report(render_check(plan))
    ctx.exit(plan.verdict.exit_code)


def _text(command: tuple[str, ...]) -> str:
    """The text that was given: words, a file, standard input."""
    if len(command) > 1:
        return shlex.join(command)
    if not command or command[0] == "-":
        if sys.stdin.isatty():
            raise PlannerError("no command was given", f"plan check '{next(iter(ENGINES.values())).example}' --gpu rtx4090")
        return sys.stdin.read(MAX_TEXT_BYTES + 1)
    path = Path(command[0])
    if len(command[0]) < 4096 and "\n" not in command[0] and path.is_file():
        return _content(path)
    return command[0]


def _content(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="strict") as stream:
            return stream.read(MAX_TEXT_BYTES + 1)
    except UnicodeDecodeError:
        raise PlannerError(f"{path} is not text", "give a shell script or a compose file") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or error})") from None
