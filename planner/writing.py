"""Files that are written whole or not at all, and by one process at a time where the system can hold the others back."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LONGEST_S = 10.0  # that another process is waited for: it holds a folder for milliseconds


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
            with suppress(OSError):  # there is none yet
                shutil.copymode(path, part)
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


def _wait(lock: Callable[[], object]) -> None:
    end = time.monotonic() + LONGEST_S
    while True:
        try:
            lock()
        except BlockingIOError:
            if time.monotonic() > end:
                return
            time.sleep(0.01)
        else:
            return


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds this folder, or this file, which is made where it is missing. Raises OSError where it cannot be opened.

    Nobody is kept out on Windows, nor by a folder on a file system that locks only files open for writing (NFS), nor for ever: who runs us under
    `flock .` holds it until we end.
    """
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        with suppress(ImportError, OSError):
            import fcntl

            _wait(lambda: fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB))
        yield
    finally:
        os.close(number)
