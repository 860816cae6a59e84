"""One process at a time, where the system can hold the others back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
