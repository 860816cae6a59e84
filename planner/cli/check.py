"""`plan check`: somebody's command, from the command line, a file or standard input."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.check_files import AskedFiles, asked_target, check_files, paths_of
from planner.cli.check_recipes import check_recipes
from planner.cli.command import command, option, output_formats, typed, words
from planner.cli.diff import check_against
from planner.cli.names import Name
from planner.cli.options import Finite, type_of
from planner.cli.own_rows import own_rows
from planner.cli.printing import print_json, print_report, read_input
from planner.engines import ENGINES
from planner.engines.vllm.versions import DEFAULT_VERSION, OLDEST_VERSION
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.facts.finding import FailOn
from planner.facts.hardware import Host
from planner.facts.question import HostName, StackRow
from planner.questions.check import check, chosen, joined, machine_for, read_text
from planner.questions.check_proxy import as_warnings, check_proxy, start_without_config
from planner.questions.check_text import check_question
from planner.questions.fields import FIELDS
from planner.questions.files.markdown import is_markdown
from planner.questions.find_commands import MAX_TEXT_BYTES, find_commands
from planner.questions.proxy.servers import beside_servers

if TYPE_CHECKING:
    from planner.questions.files.machines import Target


@command("check")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@option("--gpu", type=Name("gpu"), joined=True, help="The GPU it is to run on, each where they differ, or custom; the configuration of a proxy needs none.")
@option("--count", default=1, show_default=True, type=type_of(FIELDS["count"]), help="How many of them the machine has.")
@option(
    "--host", "host_kind", type=click.Choice([str(host) for host in Host]), default="server", show_default=True, help="The kind of machine, not an address."
)
@option("--free", "--free-gib", "free_gib", type=Finite(0, min_open=True), help="GiB that are free on each GPU now, where others use it too.")
@option("--total-gib", type=type_of(FIELDS["total_gib"]), help="What CUDA sees of each GPU in all, as a server's log tells.")
@option("--vram", type=type_of(FIELDS["vram"]), help="With --gpu custom: its memory, e.g. 16GiB.")
@option("--bandwidth", type=type_of(FIELDS["bandwidth"]), metavar="GB/S", help="With --gpu custom: of its memory, e.g. 672.")
@option("--compute-capability", help="With --gpu custom: NVIDIA's, e.g. 8.9.")
@option("--vendor", type=click.Choice(["nvidia", "amd", "intel"]), help="With --gpu custom: its maker; else nvidia.")
@option("--ram", type=type_of(FIELDS["ram"]), help="Main memory of the machine, e.g. 256GiB: what lies there is held against it.")
@option(
    "--engine-version",
    "--vllm-version",
    "vllm_version",
    help=f"The engine's release or build, e.g. {OLDEST_VERSION} to {DEFAULT_VERSION}, b9842; else the image's tag, else the newest.",
)
@own_rows()
@option("--server", type=click.IntRange(1), help="Which one, where a script starts several.")
@option(
    "--fail-on",
    type=click.Choice([str(word) for word in FailOn]),
    help="Exit 1 on this verdict and on worse ones; else on unlikely. Each server of each file is judged by itself.",
)
@option("--model", help="The model, of a server that is asked for it later and so names none.")
@option("--since", metavar="COMMIT", help="Of a folder only the files that changed since this commit: origin/main.")
@option("--report", "reports", multiple=True, metavar="FORMAT=FILE", help="Also write what is said of files: sarif=plan.sarif, markdown=summary.md.")
@option(
    "--recipes",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Judge a checkout of the official recipes' repository, its commands rendered.",
)
@option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="PLAN",
    help="Ask the question of a plan.json or of a check --json again: what moved, and whether it got worse.",
)
@output_formats("sarif", "markdown", "github", "patch")
@click.pass_context
def check_command(
    ctx: click.Context,
    /,
    command: tuple[str, ...],
    *,
    gpu: str | None,
    count: int,
    host_kind: HostName,
    free_gib: float | None,
    total_gib: float | None,
    vram: int | None,
    bandwidth: float | None,
    compute_capability: str | None,
    vendor: str | None,
    ram: int | None,
    vllm_version: str | None,
    server: int | None,
    model: str | None,
    fail_on: str | None,
    since: str | None,
    reports: tuple[str, ...],
    recipes: Path | None,
    against: Path | None,
    style: str,
) -> None:
    """Say whether a server's COMMAND starts (vLLM, llama-server, Ollama, MLX): in quotes, after --, as files (script, compose, Modelfile), or - for standard input.

    The configuration of a LiteLLM proxy is read too: which of its routes can't answer, and why. A folder is walked, and each server of each file judged.
    """
    row = StackRow(
        gpu=gpu or "",
        count=count,
        host=host_kind,
        free_gib=free_gib,
        total_gib=total_gib,
        vram=vram,
        bandwidth=bandwidth,
        compute_capability=compute_capability,
        vendor=vendor,
        ram=ram,
        services=[],
    )
    if recipes:
        check_recipes(ctx, recipes, FailOn(fail_on or FailOn.UNLIKELY), style)
    if against:
        check_against(ctx, against, style)
    paths = paths_of(command)
    of_files = "--since" if since else "--report" if reports else "" if style in ("text", "json") else f"--format {style}"
    if paths and (fail_on or of_files or any(path.is_dir() or is_markdown(path) for path in paths) or (server is None and _start_several(paths))):
        asked = AskedFiles(row=row, version=vllm_version, fail_on=FailOn(fail_on or FailOn.UNLIKELY), since=since, style=style, reports=reports)
        check_files(ctx, paths, asked)
    elif of_files:
        raise PlannerError(f"{of_files} is about files, and none is named", "plan check FILE")
    else:
        _check_one(ctx, command, row, vllm_version=vllm_version, server=server, model=model, fail_on=fail_on, style=style)


def _start_several(paths: Sequence[Path]) -> bool:
    """Whether several files start several servers, not one that they belong to together (a Modelfile and its variables)."""
    return len(paths) > 1 and len(joined([process for path in paths for process in find_commands(read_text(path))])) > 1


def _check_one(
    ctx: click.Context,
    command: tuple[str, ...],
    row: StackRow,
    *,
    vllm_version: str | None,
    server: int | None,
    model: str | None,
    fail_on: str | None,
    style: str,
) -> None:
    """One server, whose whole ledger is shown; a proxy where there is none."""
    texts = _texts(command)
    commands = [process for path, text in texts for process in _commands(path, text)]
    proxies = [answer for path, text in texts if (answer := check_proxy(text, path))]
    if not commands and proxies:
        from planner.report.proxy import proxy_json, render_proxy

        print_report(render_proxy(proxies[0])) if style != "json" else print_json(proxy_json(proxies[0]))
        ctx.exit(proxies[0].exit_code)
    if not commands and (missing := next(filter(None, (start_without_config(text) for _, text in texts)), None)):
        raise missing
    process = chosen(commands, server, model=model or "")
    own = [(path, text) for path, text in texts if process in _commands(path, text)] or texts  # all, where it was put together from several
    asked = _target(ctx, row, own).machine_for(process)
    if vllm_version:
        process = replace(process, version=vllm_version)
    plan = check(process, machine_for(process, asked))
    told = dict.fromkeys(warning for answer in proxies for warning in (*as_warnings(answer), *beside_servers(answer, commands)))
    plan = replace(plan, warnings=(*plan.warnings, *told))
    if style == "json":
        from planner.report.contract import check_json

        print_json(check_json(plan, check_question(process, asked)))
    else:
        from planner.report.terminal import render_check

        print_report(render_check(plan))
    ctx.exit(FailOn(fail_on).fails(plan.verdict) if fail_on else plan.verdict.exit_code)


def _commands(path: Path | None, text: str) -> list[Command]:
    """The servers of a text, which find what they name beside its file."""
    return [replace(process, folder=str(path.parent) if path else "") for process in find_commands(text)]


def _target(ctx: click.Context, row: StackRow, texts: Sequence[tuple[Path | None, str]]) -> Target:
    """The machine that was typed, else the one that a file says it is for, else that of config.toml. Raises PlannerError where none says one."""
    from planner.questions.files.machines import OF_MACHINE, told_in

    words_typed = typed(ctx)
    told = None if "gpu" in words_typed else told_in(texts)
    if told:
        return told.with_said(row, [name for name in OF_MACHINE if ("host_kind" if name == "host" else name) in words_typed])
    if asked := asked_target(ctx, row):
        return asked
    raise PlannerError("--gpu is missing", f"try: {words({'gpu': 'rtx4090'})}")


def _texts(typed: tuple[str, ...]) -> list[tuple[Path | None, str]]:
    """The texts that were given, each with its file where it lies in one."""
    files = _files(typed)
    return [(path, read_text(path)) for path in files] if files else [(None, _text(typed))]


def _text(command: tuple[str, ...]) -> str:
    """The text that was given: words, a file, standard input."""
    if len(command) > 1:
        return shlex.join(command)
    if not command or command[0] == "-":
        if sys.stdin.isatty():
            raise PlannerError("no command was given", f"plan check '{next(iter(ENGINES.values())).example}' --gpu rtx4090")
        return read_input().read(MAX_TEXT_BYTES + 1)
    return command[0]


def _files(typed: tuple[str, ...]) -> list[Path]:
    """The files that were given; none where a word is no file, or stands for standard input."""
    paths = paths_of(typed)
    return paths if all(path.is_file() for path in paths) else []
