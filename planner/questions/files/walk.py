"""The files of a folder that may start servers: not what git ignores, not what is hidden, no links, and never more than anybody has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from planner.errors import PlannerError
from planner.machine.git import changed_files, kept_files
from planner.questions.files import markdown
from planner.questions.files.machines import SETTINGS

SUFFIXES = frozenset({".sh", ".bash", ".zsh", ".yaml", ".yml", ".service", ".plist", ".dockerfile"}) | markdown.SUFFIXES
NAMES = ("Modelfile", "Dockerfile", "Containerfile")
"""Names that a file may begin with, where it has none of the suffixes."""
MOST_FILES, MOST_ENTRIES = 10_000, 1_000_000


def files_of(paths: Iterable[Path], since: str | None = None) -> list[Path]:
    """The files that are named, and those of the folders that are; `since` a commit only those that changed.

    Raises PlannerError for more than anybody has, for what is not there, and for a commit that git does not know.
    """
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            files |= dict.fromkeys(sorted(_below(path, since)))
        elif path.is_file():
            files[path] = None
        else:
            raise PlannerError(f"{path}: no such file or folder", "plan check FOLDER")
        if len(files) > MOST_FILES:
            raise PlannerError(f"more than {MOST_FILES:,} files there may start servers", "name a folder below, or the files that changed")
    return list(files)


def may_start(path: Path) -> bool:
    """Whether a file's name is one of those that start servers."""
    return path.suffix.lower() in SUFFIXES or path.name.startswith(NAMES)


def _below(folder: Path, since: str | None) -> Iterator[Path]:
    changed = changed_files(folder, since) if since else None
    kept = kept_files(folder) if changed is None or any(path.name == SETTINGS for path in changed) else changed  # all may be for another machine now
    for path in _walked(folder) if kept is None else kept:
        below = path.relative_to(folder)
        if may_start(path) and not any(part.startswith(".") for part in below.parts) and path.is_file() and not path.is_symlink():
            yield path


def _walked(folder: Path) -> Iterator[Path]:
    """Every file below, where no git says which count."""
    entries = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "node_modules")
        entries += len(folders) + len(names)
        if entries > MOST_ENTRIES:
            raise PlannerError(f"{folder}: more than {MOST_ENTRIES:,} files and folders", "name a folder below")
        yield from (Path(place, name) for name in names)
