"""`plan gpus`: cards that the catalogue does not have as rows of a person's own file."""

from __future__ import annotations

from pathlib import Path

import click

from planner.catalogue.user_file import user_file
from planner.cli.command import command, option
from planner.cli.defaults import own_files, write_default
from planner.cli.options import type_of
from planner.cli.printing import tell
from planner.errors import PlannerError
from planner.facts.record import dataclass
from planner.questions.fields import FIELDS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card:
    vram: int | None
    bandwidth: float | None
    compute_capability: str | None
    vendor: str | None


@command(
    "gpus",
    epilog="The file is --file FILE, else the one that `plan config` names, else gpus.yaml beside config.toml, which names it from then on. "
    "Rows that stand in the file are never changed: edit them as you like (`plan schema gpus`).",
)
@click.argument("action", type=click.Choice(["add", "list"]), default="list")
@click.argument("name", required=False, metavar="[NAME]")
@option("--vram", type=type_of(FIELDS["vram"]), help="Its memory as its driver reports it, e.g. 16GiB.")
@option("--bandwidth", type=type_of(FIELDS["bandwidth"]), metavar="GB/S", help="Of its memory, e.g. 672.")
@option("--compute-capability", help="NVIDIA's, e.g. 8.9.")
@option("--vendor", type=click.Choice(["nvidia", "amd", "intel"]), help="Its maker; else nvidia.")
@option("--file", "file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The file to write to, or to list; what --gpus names.")
def gpus_command(
    *, action: str, name: str | None, vram: int | None, bandwidth: float | None, compute_capability: str | None, vendor: str | None, file: Path | None
) -> None:
    """Add a card: `plan gpus add my-card --vram 16GiB --bandwidth 672 --compute-capability 8.9`; or list what was added."""
    named = own_files().get("own_gpus")
    written = file or (Path(named) if named else user_file("gpus.yaml"))
    if action == "list":
        _list(written)
        return
    if name is None:
        raise PlannerError("plan gpus add NAME is how it is said", "plan gpus add my-card --vram 16GiB --bandwidth 672 --compute-capability 8.9")
    from planner.catalogue.added import add_gpu
    from planner.questions.machine import described_row

    card = _Card(vram=vram, bandwidth=bandwidth, compute_capability=compute_capability, vendor=vendor)
    added = add_gpu(described_row(card, name), written)
    if file is None and named is None:
        write_default("gpus", str(written))
    where = f" --gpus {file}" if file is not None and (named is None or file.resolve() != Path(named)) else ""
    tell(f"{added.repo} is {added.name} in {added.file}\nplan --gpu {added.name} --model NAME{where}")


def _list(file: Path) -> None:
    from planner.catalogue.own import own_catalogue
    from planner.units import MIB, gib

    if not file.exists():
        tell(f"no GPUs of your own: {file} is not there (`plan gpus add NAME` makes it)")
        return
    tell(f"{file}")
    for row in own_catalogue(file, None).own_gpus.values():
        tell(f"{row.name:<20} {gib(row.memory_mib * MIB):>10} {row.bandwidth_gb_per_s:>6.0f} GB/s  {row.title}")
