"""`plan check`: somebody's command, from the command line, a file or standard input."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.command import command, option, output_options
from planner.cli.names import Name
from planner.cli.options import Finite, meant_gpus, type_of
from planner.cli.own_rows import own_rows
from planner.engines.vllm.settings import COMMAND
from planner.engines.vllm.versions import DEFAULT_VERSION, OLDEST_VERSION, nearest_version
from planner.errors import FileError, PlannerError
from planner.facts.hardware import GpuGroup, Host
from planner.facts.question import HostName
from planner.facts.settings import Kind
from planner.questions.fields import FIELDS
from planner.questions.find_commands import MAX_TEXT_BYTES, Found, find_commands
from planner.secrets import redact_words
from planner.units import GIB

if TYPE_CHECKING:
    from planner.engines.vllm.check import Checked

_MATTERS = ("--model", *(setting.flag for setting in COMMAND if setting.kind is not Kind.SWITCH), "--cudagraph-capture-sizes")


@command("check")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@option("--gpu", required=True, type=Name("gpu"), help="The GPU it is to run on.")
@option("--count", default=1, show_default=True, type=type_of(FIELDS["count"]), help="How many of them the machine has.")
@option(
    "--host", "host_kind", type=click.Choice([str(host) for host in Host]), default="server", show_default=True, help="The kind of machine, not an address."
)
@option("--free", "free_gib", type=Finite(0, min_open=True), help="GiB that are free on each GPU now, where others use it too.")
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
    vllm_version: str | None,
    server: int | None,
    style: str,
) -> None:
    """Say whether a `vllm serve` COMMAND starts: in quotes, after --, as a file (script or compose), or - for standard input."""
    named, count = meant_gpus(ctx, gpu, count)
    found = _one(_read(command), server)
    from planner.engines.vllm.answer import judged

    checked = judged(judge(found, _group(named or gpu, count, host_kind, free_gib), vllm_version))
    if style == "json":
        from planner.report.contract import check_json

        click.echo(json.dumps(check_json(checked), indent=2))
    else:
        from planner.report.console import console
        from planner.report.terminal import render_check

        console().print(render_check(checked), crop=False)
    ctx.exit(checked.verdict.exit_code)


def _group(gpu: str, count: int, host: HostName, free_gib: float | None) -> GpuGroup:
    from planner.catalogue.load import find_gpu
    from planner.machine.calibration import calibrated

    spec = calibrated(find_gpu(gpu))
    if spec.vendor == "apple":
        raise PlannerError(f"{spec.title}: vLLM needs an NVIDIA or AMD GPU")
    if free_gib is not None:
        free = int(free_gib * GIB)
        spec = replace(spec, free_at_start_bytes=free, wsl2_free_at_start_bytes=free)
    return GpuGroup(gpu=spec, count=count, host=Host(host))


def judge(found: Found, group: GpuGroup, version: str | None = None) -> Checked:
    """Check one server's command on a machine."""
    from planner.catalogue.resolve import find_source
    from planner.engines.vllm.check import check
    from planner.engines.vllm.flags import parse_flags

    release = nearest_version(version or found.version or "").name
    env = dict(found.env)
    rust = env.get("VLLM_USE_RUST_FRONTEND", "0") not in ("0", "")
    values, positional, faults = parse_flags(found.words, release, unresolved=found.unresolved, here=not found.contained, rust=rust)
    model = str(positional[0] if positional else values.get("--model", ""))
    _refuse_unresolved(found, values, model)
    if not model and faults and faults[0].flag == "--config":
        raise PlannerError(faults[0].message, faults[0].fix)
    if not model:
        raise PlannerError("the command names no model", "vllm serve MODEL …")
    quantization = values.get("--quantization")
    source = find_source(model, str(quantization) if quantization else None)
    argv = ("vllm", "serve", *found.words)
    return check(values, faults, source.spec, group, repo=source.repo, argv=argv, version=release, env=env, market=source.market)


def _refuse_unresolved(found: Found, values: dict[str, str | bool], model: str) -> None:
    """What only the shell knows is never run or guessed."""
    for flag, value in (("the model", model), *((flag, str(values.get(flag, ""))) for flag in _MATTERS)):
        for word in found.unresolved:
            if word and word in value:
                raise PlannerError(f"{flag} is {word}, which only the shell that runs it knows", "put its value into the command")


def _read(command: tuple[str, ...]) -> list[Found]:
    if len(command) > 1:
        return find_commands(shlex.join(command))
    if not command or command[0] == "-":
        if sys.stdin.isatty():
            raise PlannerError("no command was given", "plan check 'vllm serve MODEL …' --gpu rtx4090")
        return find_commands(sys.stdin.read(MAX_TEXT_BYTES + 1))
    path = Path(command[0])
    if len(command[0]) < 4096 and "\n" not in command[0] and path.is_file():
        return find_commands(_text(path))
    return find_commands(command[0])


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="strict") as stream:
            return stream.read(MAX_TEXT_BYTES + 1)
    except UnicodeDecodeError:
        raise PlannerError(f"{path} is not text", "give a shell script or a compose file") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or error})") from None


def _one(found: list[Found], wanted: int | None) -> Found:
    if not found:
        raise PlannerError("no vLLM server is started there", "expected `vllm serve MODEL …` or `python -m vllm.entrypoints.openai.api_server --model MODEL …`")
    number = wanted or 1
    if len(found) > 1 and not wanted:
        starts = "; ".join(f"{index}: {' '.join(redact_words(each.words[:2]))}" for index, each in enumerate(found, 1))
        raise PlannerError(f"{len(found)} servers are started there ({starts})", "choose one with --server N")
    if number > len(found):
        raise PlannerError(f"--server {number}: there are {len(found)} servers")
    return found[number - 1]
