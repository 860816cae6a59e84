"""`plan sweep`: a grid of models, machines and contexts to a file, with a progress bar, continued after Ctrl-C."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.command import command, option, output_options, words
from planner.cli.names import Name
from planner.cli.options import type_of
from planner.cli.printing import print_json, tell
from planner.errors import PlannerError, WorldError
from planner.facts.hardware import Host
from planner.grid.interrupt import Interruption
from planner.questions.fields import FIELDS, MOST_COUNT
from planner.report.head import HEAD
from planner.units import parse_context

if TYPE_CHECKING:
    from planner.grid.files import Target
    from planner.grid.sweep import Sweep


@command("sweep")
@option("--output", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Where the rows go: FILE.csv, .json or .parquet.")
@option(
    "--models",
    type=Name("model", many=True),
    default="all",
    show_default=True,
    help="Names of `plan list models`, with commas; FILE.yaml stands for models of your own.",
)
@option(
    "--gpus",
    type=Name("gpu", many=True),
    default="all",
    show_default=True,
    help="Names of `plan list gpus`, with commas; FILE.yaml stands for GPUs of your own.",
)
@option("--counts", default="1-8", show_default=True, help="GPUs of a machine: 1,2,4 or 1-8.")
@option("--contexts", help="Tokens, with commas: 8k,32k,128k; else twenty from 2k to 1.5m.")
@option("--users", type=type_of(FIELDS["users"]), help="Sequences of every server; else 16.")
@option(
    "--host", "host_kind", type=click.Choice([str(host) for host in Host]), default="server", show_default=True, help="The kind of machine, not an address."
)
@option("--only-starts", is_flag=True, help="Leave out what does not surely start.")
@option("--no-speed", is_flag=True, help="Memory only.")
@option("--jobs", type=click.IntRange(1, 256), help="Processes; else one for each core.")
@option("--ray", metavar="ADDRESS", help="Run on an existing Ray cluster (auto, host:port, ray://…), or `local`.")
@option("--resume", is_flag=True, help="Continue what was interrupted.")
@option("--force", is_flag=True, help="Overwrite FILE.")
@output_options
@click.pass_context
def sweep_command(ctx: click.Context, /, **options: Any) -> None:
    """Compute every server of a grid: does it start, its memory, how many requests at once, its speed. Ctrl-C leaves a valid file; --resume goes on."""
    from planner.grid.files import target
    from planner.grid.sweep import check

    if options["resume"] and options["force"]:
        raise PlannerError("--resume continues FILE and --force overwrites it", f"one of them: {words({'force': None})}")
    if options["ray"] and options["jobs"]:
        raise PlannerError("--jobs is about processes of this machine, and --ray computes on a cluster", f"leave it out: {words({'jobs': None})}")
    gpus, models = _names(ctx, options)
    sweep = _sweep(options, gpus, models)
    check(sweep)
    path: Path = options["output"]
    file = target(path, sweep)
    try:
        if options["resume"]:
            file.resume()
        elif not options["force"] and (path.exists() or file.journal.path.exists()):
            raise PlannerError(f"{path} exists", "--force overwrites it, --resume continues it, --output writes elsewhere")
        else:
            file.start()
        ctx.exit(_run(sweep, file, options))
    except OSError as error:
        raise WorldError(f"cannot write {path}: {error.strerror or error}", "--output writes elsewhere") from None


def _names(ctx: click.Context, options: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The GPUs and models that are named; those of a person's own file in place of its name."""
    from planner.catalogue.load import Entry, current
    from planner.cli.defaults import own_files
    from planner.cli.own_rows import split_files, use_own
    from planner.grid.sweep import all_gpus, all_models

    (gpus, gpus_file), (models, models_file) = split_files(_split(options["gpus"])), split_files(_split(options["models"]))
    known = own_files()
    use_own(ctx, gpus_file or _path(known.get("own_gpus")), models_file or _path(known.get("own_models")))
    mine = current()
    own_models = [Entry(row, variant).name for row in mine.own_models.values() for variant in row.variants if variant.is_checkpoint]
    return (
        all_gpus() if options["gpus"] == "all" else tuple(dict.fromkeys([*gpus, *(mine.own_gpus if gpus_file else ())])),
        all_models() if options["models"] == "all" else tuple(dict.fromkeys([*models, *(own_models if models_file else ())])),
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _sweep(options: dict[str, Any], gpus: tuple[str, ...], models: tuple[str, ...]) -> Sweep:
    from planner.catalogue.load import current
    from planner.grid.sweep import CONTEXTS, Sweep

    try:
        contexts = tuple(parse_context(text) for text in options["contexts"].split(",")) if options["contexts"] else CONTEXTS
        counts = _counts(options["counts"])
    except ValueError as error:
        raise PlannerError(f"a list that cannot be read: {error}", "--contexts 8k,32k --counts 1-4,8") from None
    if not contexts or min(contexts) < 1:
        raise PlannerError("a context is below 1", "--contexts 8k,32k")
    return Sweep(
        models=models,
        gpus=gpus,
        counts=counts,
        contexts=tuple(dict.fromkeys(contexts)),
        users=options["users"],
        host=options["host_kind"],
        only_starts=options["only_starts"],
        with_speed=not options["no_speed"],
        own_rows=current().digest,
    )


def _counts(text: str) -> tuple[int, ...]:
    """1,2,4 or 1-8; the bounds are checked before a range is made."""
    counts: dict[int, None] = {}
    for piece in text.split(","):
        first, _, last = piece.partition("-")
        low, high = int(first), int(last or first)
        if not 1 <= low <= high <= MOST_COUNT:
            raise ValueError(f"{piece.strip()!r} is not within 1 to {MOST_COUNT}")
        counts |= dict.fromkeys(range(low, high + 1))
    return tuple(counts)


def _run(sweep: Sweep, file: Target, options: dict[str, Any]) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from planner.grid.sweep import parts

    left = sweep.models[len(file.done) :]
    start, rows_before = time.perf_counter(), file.rows
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("models, left"), TimeRemainingColumn())
    with Interruption() as interruption, Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("sweep", total=len(sweep.models), completed=len(file.done))
        try:
            for model, columns_of in parts(sweep, left, options["jobs"], options["ray"]):
                file.add(model, columns_of)
                progress.advance(task)
                if interruption.signal:
                    break
        except (KeyboardInterrupt, PlannerError) as error:
            if isinstance(error, PlannerError) and not interruption.signal:
                file.leave() if file.done else file.journal.remove()
                raise
        if len(file.done) < len(sweep.models):
            file.leave()
            tell(f"plan: interrupted after {len(file.done)} of {len(sweep.models)} models; {file.path} is valid, --resume goes on", err=True)
            return interruption.exit_code
        file.finish()
    seconds = time.perf_counter() - start
    size = file.path.stat().st_size
    if options["style"] == "json":
        print_json({**HEAD, "rows": file.rows, "models": len(sweep.models), "file": str(file.path), "bytes": size})
        return 0
    tell(f"{file.rows:,} rows of {len(sweep.models)} models in {file.path} ({size:,} bytes), {(file.rows - rows_before) / max(seconds, 1e-9):,.0f} a second")
    return 0
