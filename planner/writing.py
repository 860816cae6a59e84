"""Files that are written whole or not at all, and by one process at a time where the system can hold the others back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_whole(path: Path, text: str, check: Callable[[Path], object] | None = None) -> None:
    """Put a text in a file's place once it lies beside it and `check` has read it there. Raises OSError, and what `check` raises; then all is as it was."""
    part = path.with_name(f"{path.name}.{os.getpid()}")  # one of a process of this number that was killed is written over
    with made(path.parent):
        try:
            with part.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            if check is not None:
                check(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; of these, whichever stays empty is gone again. Raises OSError."""
    missing = []
    path = folder
    while not path.exists():
        missing.append(path)
        path = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds this folder, or this file, which is made where it is missing. Raises OSError where it cannot be opened.

    Nobody is kept out on Windows, nor by a folder on a file system that locks only files open for writing (NFS).
    """
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
