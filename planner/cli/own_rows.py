"""`--gpus FILE` and `--models FILE`: a person's own rows beside the catalogue's, for as long as a command runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from planner.cli.command import OWN_FILES, is_quiet, note, option, typed
from planner.errors import PlannerError

_OPTIONS: Any = {"type": click.Path(path_type=Path, dir_okay=False), "metavar": "FILE", "common": False}


def own_rows(*, group: str = "Options", models: bool = True, gpus: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of a command that names GPUs and models."""
    wanted = [
        *([option("--gpus", "own_gpus", group=group, help="GPUs of your own (`plan schema gpus`), which win over ours.", **_OPTIONS)] if gpus else ()),
        *(
            [option("--models", "own_models", group=group, help="Models of your own (`plan schema models`), which win over ours.", **_OPTIONS)]
            if models
            else ()
        ),
    ]

    def add(run: Callable[..., Any]) -> Callable[..., Any]:
        for add_to in reversed(wanted):
            run = add_to(run)
        return run

    return add


def use_own(ctx: click.Context, gpus: Path | None, models: Path | None) -> None:
    """Let names mean what these files say until the command ends, and say whose rows they stand in place of. Raises PlannerError with file and line."""
    from planner.catalogue.load import using
    from planner.catalogue.own import own_catalogue, replaced

    if gpus and gpus.name.isdecimal() and not gpus.exists():
        raise PlannerError(f"--gpus {gpus} is no file of GPUs", f"how many there are: --count {gpus.name}")
    catalogue = own_catalogue(gpus, models)
    if (names := replaced(catalogue)) and not is_quiet(ctx):
        note(f"{', '.join(names)} of {' and '.join(str(path) for path in (gpus, models) if path)} in place of the catalogue's")
    asked = typed(ctx)  # what config.toml names goes without saying in a command that is repeated
    gpus_file, models_file = (catalogue.gpus_file if "own_gpus" in asked else ""), (catalogue.models_file if "own_models" in asked else "")
    ctx.with_resource(using(replace(catalogue, gpus_file=gpus_file, models_file=models_file)))


def split_files(texts: Iterable[str]) -> tuple[list[str], Path | None]:
    """Names, and the file of own rows among them. Raises PlannerError for several files."""
    texts = list(texts)
    files = [text for text in texts if text.endswith((".yaml", ".yml"))]
    if len(files) > 1:
        raise PlannerError(f"{files[0]} and {files[1]}: one file of own rows is read", "put the rows into one file")
    return [text for text in texts if text not in files], Path(files[0]) if files else None


@contextmanager
def own_names(ctx: click.Context) -> Iterator[None]:
    """The catalogue for completing names: with the files that are typed or in config.toml, where they can be read."""
    from planner.catalogue.load import Catalogue, using
    from planner.catalogue.own import own_catalogue
    from planner.cli.defaults import own_files

    catalogue = Catalogue()
    with suppress(PlannerError):
        files = own_files() | {name: ctx.params[name] for name in OWN_FILES if ctx.params.get(name)}
        catalogue = own_catalogue(*(Path(files[name]) if name in files else None for name in OWN_FILES))
    with using(catalogue):
        yield
