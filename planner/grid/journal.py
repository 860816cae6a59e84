"""A file that grows by records, each of which is there whole or not at all: what was computed survives whatever ends the process.

A line of JSON says what the journal is of; each record is a line of JSON (name, rows, bytes, checksum) and so many bytes behind it. What is torn at
the end, or was changed, is cut off and computed again.
"""

from __future__ import annotations

import json
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from planner.errors import PlannerError
from planner.facts.document import json_object
from planner.facts.record import dataclass

VERSION = 1
_MOST_LINE = 4096
_NEW = "without --resume a new one is started"


@dataclass(frozen=True, slots=True)
class Record:
    """Where a part lies."""

    name: str
    rows: int
    at: int
    size_bytes: int


class Journal:
    """The parts of one question, in the question's order. One process writes it at a time."""

    def __init__(self, path: Path, question: str) -> None:
        self.path, self.question = path, question
        self.records: list[Record] = []
        self.file: IO[bytes] | None = None
        self.end = 0

    def create(self) -> None:
        """Begin anew. Raises PlannerError where another process writes it, OSError where it cannot be written."""
        file = self._open(os.O_CREAT)
        file.truncate(0)
        file.write(self._head)
        file.flush()
        self.records, self.end = [], len(self._head)

    def reopen(self, names: Sequence[str]) -> None:
        """Take up what is whole of the parts, which have these names in this order. Raises PlannerError where there is nothing of this question."""
        try:
            file = self._open(0)
        except OSError:
            raise PlannerError(f"{self.path.with_suffix('')}: there is no unfinished sweep", _NEW) from None
        head = file.readline(_MOST_LINE)
        if not head:  # it was ended before the first byte
            self.create()
            return
        if head != self._head:
            self.close()
            raise PlannerError(f"{self.path.with_suffix('')}: the unfinished sweep asked something else", "the same options, or another --output")
        self.records, self.end = [], len(head)
        for name in names:
            record = _record(file, name)
            if record is None:
                break
            self.records.append(record)
            self.end = record.at + record.size_bytes
        file.truncate(self.end)

    def append(self, name: str, rows: int, payload: bytes) -> None:
        """Add a part."""
        file = self._file
        line = json.dumps({"name": name, "rows": rows, "bytes": len(payload), "crc32": _checksum(name, rows, payload)}).encode() + b"\n"
        file.seek(self.end)
        file.write(line + payload)
        file.flush()
        self.records.append(Record(name, rows, self.end + len(line), len(payload)))
        self.end += len(line) + len(payload)

    def payloads(self) -> Iterator[bytes]:
        """The parts that hold something."""
        for record in self.records:
            if record.size_bytes:
                self._file.seek(record.at)
                yield self._file.read(record.size_bytes)

    def close(self) -> None:
        """Let others write it."""
        if self.file:
            self.file.close()
            self.file = None

    def remove(self) -> None:
        """Its parts are elsewhere, or there are none."""
        self.path.unlink(missing_ok=True)
        self.close()

    @property
    def _head(self) -> bytes:
        return json.dumps({"journal": VERSION, "question": self.question}).encode() + b"\n"

    @property
    def _file(self) -> IO[bytes]:
        if self.file is None:
            raise ValueError(f"{self.path} is not open")
        return self.file

    def _open(self, flags: int) -> IO[bytes]:
        """The file, ours alone. Raises PlannerError where it is another's, or no file."""
        if self.file is None:
            number = os.open(self.path, os.O_RDWR | flags, 0o644)
            try:
                if not stat.S_ISREG(os.fstat(number).st_mode):
                    raise PlannerError(f"{self.path} is no file", "--output writes elsewhere")
                _lock(number, self.path)
            except PlannerError:
                os.close(number)
                raise
            self.file = os.fdopen(number, "r+b")
        return self.file


def _lock(number: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: nobody is kept out
        return
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PlannerError(f"{path.with_suffix('')}: another sweep is writing it", "--output writes elsewhere") from None


def _checksum(name: str, rows: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(f"{name} {rows}".encode()))


def _record(file: IO[bytes], name: str) -> Record | None:
    """The record of this name that begins here; None where there is none that is whole."""
    try:
        kept = json_object(json.loads(file.readline(_MOST_LINE)))
        rows, size, at = kept.get("rows"), kept.get("bytes"), file.tell()
        if kept.get("name") != name or type(rows) is not int or type(size) is not int or rows < 0 or not 0 <= size <= os.fstat(file.fileno()).st_size - at:
            return None
        return Record(name, rows, at, size) if kept.get("crc32") == _checksum(name, rows, file.read(size)) else None
    except (ValueError, RecursionError):
        return None
