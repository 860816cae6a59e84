"""`plan models`: models of the Hub as rows of a person's own file, so that they are known without a network."""

from __future__ import annotations

from pathlib import Path

import click

from planner.catalogue.user_file import user_file
from planner.cli.command import command, option
from planner.cli.defaults import own_files, write_default
from planner.cli.printing import tell
from planner.errors import PlannerError
from planner.units import GIB


@command(
    "models",
    epilog="The file is --file FILE, else the one that `plan config` names, else models.yaml beside config.toml, which names it from then on. "
    "Only config.json and the headers of the weights are fetched. Rows that stand in the file are never changed: edit them as you like (`plan schema models`).",
)
@click.argument("action", type=click.Choice(["add", "list"]), default="list")
@click.argument("repository", required=False, metavar="[OWNER/NAME]")
@option("--file", "file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The file to write to, or to list; what --models names.")
def models_command(action: str, repository: str | None, file: Path | None) -> None:
    """Add a model of the Hub to your own ones, to plan it offline: `plan models add Qwen/Qwen3-8B`; or list what was added."""
    named = own_files().get("own_models")
    written = file or (Path(named) if named else user_file("models.yaml"))
    if action == "list":
        if repository is not None:
            raise PlannerError(f"plan models list takes no {repository[:60]!r}", f"plan list models {repository[:60]}")
        _list(written)
        return
    if repository is None:
        raise PlannerError("plan models add OWNER/NAME is how it is said", "plan models add Qwen/Qwen3-8B")
    from planner.catalogue.added import add_model

    added = add_model(repository, written)
    if file is None and named is None:
        write_default("models", str(written))
    where = f" --models {file}" if file is not None and (named is None or file.resolve() != Path(named)) else ""
    tell(f"{added.repo} is {added.name} in {added.file}\nplan --gpu NAME --model {added.name}{where}")


def _list(file: Path) -> None:
    from planner.catalogue.load import Entry
    from planner.catalogue.own import own_catalogue
    from planner.catalogue.sizes import stored_as, weights_bytes

    if not file.exists():
        tell(f"no models of your own: {file} is not there (`plan models add OWNER/NAME` makes it)")
        return
    entries = [Entry(row, variant) for row in own_catalogue(None, file).own_models.values() for variant in row.variants]
    width = max((len(entry.name) for entry in entries), default=0)
    tell(f"{file}")
    for entry in entries:
        tell(f"{entry.name:<{width}} {weights_bytes(entry) / GIB:>7.1f} GiB  {stored_as(entry):<9} {entry.variant.repo}")
