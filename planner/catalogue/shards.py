"""Models in several files: which belong together by their names, and which are missing. Half a download is no model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from planner.errors import PlannerError
from planner.text import shown

UNFINISHED = (".aria2", ".part", ".incomplete", ".crdownload", ".tmp")  # what downloaders leave beside, or in place of, a file that is not whole
FINISH = "finish the download; before it, `--model` takes the repository's name"
POINTER, FETCH = "is not whole: it is a pointer of Git LFS, not the file", "git lfs pull fetches it"
_SHARD = re.compile(r"(?P<name>.*)-(?P<number>\d{1,6})-of-(?P<total>\d{1,6})(?P<kind>\.\w+)\Z", re.ASCII | re.DOTALL)
_SHOWN = 3


def refuse_missing(folder: Path, wanted: Iterable[str], there: Iterable[str]) -> None:
    """Refuse a checkpoint of which files are missing, or still being downloaded."""
    wanted = sorted(wanted)
    present = set(there)
    missing = [name for name in wanted if name not in present]
    if missing:
        names = ", ".join(shown(name) for name in missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
        raise PlannerError(f"{folder} is not whole: {len(missing)} of {len(wanted)} files are missing ({names})", FINISH)
    for name in wanted:
        if any((folder / (name + ending)).exists() for ending in UNFINISHED):
            raise PlannerError(f"{folder} is not whole: {shown(name)} is still being downloaded", FINISH)


def shards(names: Iterable[str]) -> set[str]:
    """The files that belong to some, as their names tell: model-00001-of-00017 has sixteen others (numbered from 1, or from 0)."""
    whole: set[str] = set()
    groups: dict[tuple[str, str, str], set[int]] = {}
    for name in names:
        if match := _SHARD.match(name):
            groups.setdefault((match["name"], match["total"], match["kind"]), set()).add(int(match["number"]))
    for (name, total, kind), numbers in groups.items():
        first = 0 if 0 in numbers else 1
        whole |= {f"{name}-{number:0{len(total)}}-of-{total}{kind}" for number in range(first, first + int(total))}
    return whole
