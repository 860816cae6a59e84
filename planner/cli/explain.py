"""`plan explain`: a server's log, streamed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from planner.cli.command import command, option, output_options
from planner.cli.names import Name
from planner.cli.options import type_of
from planner.cli.own_rows import own_rows
from planner.engines.vllm.log import MAX_LINE, command_words, read_log
from planner.engines.vllm.rules import default_batches
from planner.engines.vllm.versions import VERSIONS, nearest_version
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup, GpuSpec, Host
from planner.facts.observed import Observed
from planner.questions.fields import FIELDS
from planner.questions.find_commands import Found
from planner.units import MIB

if TYPE_CHECKING:
    from planner.engines.vllm.check import Checked

SAME_TOTAL = 0.004  # share by which totals of one card differ between drivers


@command("explain")
@click.argument("log", type=str)
@option("--gpu", type=Name("gpu"), help="The GPU, where the log does not name it.")
@option("--model", type=Name("model"), help="The model, where the log does not name it.")
@option("--count", type=type_of(FIELDS["count"]), help="How many the machine has; else as many as the command uses.")
@option("--save-calibration", is_flag=True, help="Keep what was observed for this GPU; later plans use it and say so.")
@own_rows()
@output_options
@click.pass_context
def explain_command(ctx: click.Context, /, log: str, gpu: str | None, model: str | None, count: int | None, *, save_calibration: bool, style: str) -> None:
    """Say what happened in a vLLM server's LOG (a file, a pasted line in quotes, or - for standard input), beside the prediction for its command."""
    with _lines(log) as lines:
        observed = read_log(lines)
    if not observed.is_vllm and observed.root_cause is None:
        raise PlannerError(
            f"{log[:60]!r} is not a log of a vLLM server, and no known error is in it", "give the output of `vllm serve`, or the line with the error"
        )
    from planner.engines.vllm.explain import explain

    if model and not observed.flags.get("model_tag"):
        observed.model = observed.flags["model"] = _repository(model)
    words = command_words(observed)
    spec = _gpu(observed, gpu)
    explained = explain(observed, words, _predict(observed, words, spec, count))
    if save_calibration:
        from planner.machine.calibration import save

        click.echo(f"kept in {save(explained)}", err=True)
    if style == "json":
        from planner.report.explained import explain_json

        click.echo(json.dumps(explain_json(explained, spec.name if spec else None), indent=2))
    else:
        from planner.report.console import console
        from planner.report.explained import render

        console().print(render(explained, spec), crop=False)
    ctx.exit(0 if observed.started else 1)


def _repository(name: str) -> str:
    """What vLLM is told to load for a catalogue's name; another name as it is."""
    from planner.catalogue.load import find_model

    entry = find_model(name)
    return entry.variant.repo if entry else name


@contextmanager
def _lines(log: str) -> Iterator[Iterator[str]]:
    """Lines of bounded length, whatever the file holds."""
    if not log.strip():
        raise PlannerError("no log was given", "a file, a pasted line in quotes, or - for standard input")
    if log == "-":
        yield _bounded(sys.stdin)
        return
    path = Path(log)
    if "\n" in log or (" " in log and not _is_file(path)):
        yield _bounded(StringIO(log))
        return
    try:
        with path.open("rb") as probe:
            if b"\0" in probe.read(4096):
                raise PlannerError(f"{log} is not text", "give the server's log")
        with path.open(encoding="utf-8", errors="replace") as stream:
            yield _bounded(stream)
    except OSError as error:
        raise PlannerError(f"{log}: cannot be read ({error.strerror or error})") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a path
        return False


def _bounded(stream: IO[str]) -> Iterator[str]:
    whole = True
    while piece := stream.readline(MAX_LINE):
        if whole:
            yield piece
        whole = piece.endswith("\n")


def _gpu(observed: Observed, named: str | None) -> GpuSpec | None:
    """The GPU that was named, that the log names, or whose total memory is the log's."""
    from planner.catalogue.load import find_gpu, gpu_rows

    if named:
        return find_gpu(named)
    if observed.gpu:
        words = observed.gpu.replace("NVIDIA_", "").split("_")
        for length in range(len(words), 0, -1):
            try:
                return find_gpu(" ".join(words[:length]))
            except PlannerError:
                continue
    total = observed.total_bytes
    if total is None:
        return None
    specs = [row.spec() for row in gpu_rows() if row.vendor != "apple"]
    release = VERSIONS[nearest_version(observed.vllm_version or "").name]

    def distance(spec: GpuSpec) -> tuple[int, bool, int]:
        """Cards with one total are told apart by the batch that vLLM chose for them."""
        batch, _ = default_batches(spec, total, release)
        return abs(spec.cuda_total_bytes - total) // (256 * MIB), observed.max_num_batched_tokens not in (None, batch), len(spec.name)

    near = min(specs, key=distance)
    return near if abs(near.cuda_total_bytes - total) <= SAME_TOTAL * total else None


def _predict(observed: Observed, words: list[str], gpu: GpuSpec | None, count: int | None) -> Checked | None:
    """The prediction for the same command on what the log says of the machine; None where something is not known."""
    from planner.cli.check import judge
    from planner.engines.vllm.flags import parse_flags

    if not words or gpu is None or (observed.root_cause is not None and observed.root_cause.engine != "vllm"):
        return None
    if gpu.vendor == "apple":
        raise PlannerError(f"{gpu.title}: vLLM needs an NVIDIA or AMD GPU", "name the GPU of the machine that wrote the log")
    version = nearest_version(observed.vllm_version or "").name
    values, _, _ = parse_flags(words, version)
    used = _whole(values.get("--tensor-parallel-size")) * _whole(values.get("--pipeline-parallel-size"))
    total, free = observed.total_bytes or gpu.cuda_total_bytes, observed.free_at_start_bytes
    estimated = gpu.cuda_total_estimated and observed.total_bytes is None
    seen = replace(gpu, cuda_total_bytes=total, cuda_total_estimated=estimated, free_at_start_bytes=free)
    group = GpuGroup(gpu=seen, count=count or max(1, used), host=Host.SERVER)
    try:
        return judge(Found(tuple(words)), group, version)
    except PlannerError:
        return None  # a model that nobody here knows: the log is explained all the same


def _whole(value: object) -> int:
    return int(str(value)) if value is not None and str(value).isdigit() else 1
