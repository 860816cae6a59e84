"""A sweep's rows as JSON, CSV or Parquet. The parts grow in a journal, FILE.unfinished; FILE itself is only ever put there whole.

After Ctrl-C or SIGTERM it holds the parts that are done, and the journal goes on; after SIGKILL or a full disk the journal alone has them.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from planner.arrays import Array
from planner.errors import FileError, require
from planner.grid.journal import Journal
from planner.grid.sweep import COLUMNS, Sweep, decoded

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = (".json", ".csv", ".parquet")


class Target(ABC):
    """A file that takes parts."""

    def __init__(self, path: Path, sweep: Sweep) -> None:
        self.path, self.sweep = path, sweep
        question = hashlib.sha256(json.dumps([asdict(sweep), path.suffix, COLUMNS]).encode()).hexdigest()
        self.journal = Journal(path.with_name(path.name + ".unfinished"), question)

    @property
    def done(self) -> list[str]:
        """The models that are done: the first of the question's."""
        return [record.name for record in self.journal.records]

    @property
    def rows(self) -> int:
        """The rows of what is done."""
        return sum(record.rows for record in self.journal.records)

    def start(self) -> None:
        """Begin anew. Raises PlannerError where another process writes it, OSError."""
        self.journal.create()

    def resume(self) -> None:
        """Go on where an interrupted sweep of the same question ended. Raises PlannerError where there is none."""
        self.journal.reopen(self.sweep.models)

    def add(self, model: str, columns: dict[str, Array]) -> None:
        """Add a model's rows."""
        rows = len(columns["gpu"]) if columns else 0
        self.journal.append(model, rows, self.payload(decoded(self.sweep, model, columns)) if rows else b"")

    def leave(self) -> None:
        """Put a file there that holds what is done; the journal stays."""
        part = self.path.with_name(self.path.name + ".part")
        try:
            self.join(part, self.journal.payloads())
            part.replace(self.path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self.journal.close()

    def finish(self) -> None:
        """Put the file there, which holds every model."""
        self.leave()
        self.journal.remove()

    @abstractmethod
    def payload(self, rows: dict[str, Array]) -> bytes:
        """A part's rows as the journal keeps them."""

    @abstractmethod
    def join(self, path: Path, payloads: Iterator[bytes]) -> None:
        """Write a file of so many parts."""


class _Text(Target):
    """Texts behind each other: `head`, the parts with `between` them, `end`."""

    head, first, between, end = "", "", "", ""

    def join(self, path: Path, payloads: Iterator[bytes]) -> None:
        """See `Target`."""
        with path.open("wb") as file:
            file.write(self.head.encode())
            before = self.first
            for payload in payloads:
                file.write(before.encode())
                file.write(payload)
                before = self.between
            file.write(self.end.encode())

    def payload(self, rows: dict[str, Array]) -> bytes:
        """See `Target`."""
        return self.text(rows).encode()

    @abstractmethod
    def text(self, rows: dict[str, Array]) -> str:
        """A part's rows."""


class Csv(_Text):
    """Comma-separated, a header, nothing where a value is not known."""

    head = ",".join(COLUMNS) + "\n"

    def text(self, rows: dict[str, Array]) -> str:
        """See `Target`."""
        lists = [rows[name].tolist() for name in COLUMNS]
        return "".join(",".join("" if value != value else str(value) for value in row) + "\n" for row in zip(*lists, strict=True))  # noqa: PLR0124 - NaN


class Json(_Text):
    """One array of objects, a row a line."""

    head, first, between, end = "[", "\n", ",\n", "\n]\n"

    def text(self, rows: dict[str, Array]) -> str:
        """See `Target`."""
        lists = [rows[name].tolist() for name in COLUMNS]
        objects = (dict(zip(COLUMNS, (None if value != value else value for value in row), strict=True)) for row in zip(*lists, strict=True))  # noqa: PLR0124
        return ",\n".join(json.dumps(row) for row in objects)


class Parquet(Target):
    """One row group a model; the journal keeps them as Arrow's own stream."""

    def __init__(self, path: Path, sweep: Sweep) -> None:
        super().__init__(path, sweep)
        self.arrow, self.parquet, self.schema = _arrow()

    def payload(self, rows: dict[str, Array]) -> bytes:
        """See `Target`."""
        arrays = [self.arrow.array(rows[name], type=self.schema.field(name).type, from_pandas=True) for name in COLUMNS]
        sink = self.arrow.BufferOutputStream()
        with self.arrow.ipc.new_stream(sink, self.schema) as stream:
            stream.write_table(self.arrow.Table.from_arrays(arrays, schema=self.schema))
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def join(self, path: Path, payloads: Iterator[bytes]) -> None:
        """See `Target`."""
        with self.parquet.ParquetWriter(path, self.schema, compression="zstd") as writer:
            for payload in payloads:
                writer.write_table(self.arrow.ipc.open_stream(payload).read_all())


def _arrow() -> tuple[ModuleType, ModuleType, pa.Schema]:
    require("a .parquet file", "pyarrow", otherwise="write .csv or .json")
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts, floats, shorts = ("model", "gpu", "kv_cache_dtype", "verdict"), ("max_concurrency", "max_concurrency_low", "tokens_per_s"), ("count",)
    kinds = {name: pa.dictionary(pa.int32(), pa.string()) for name in texts} | dict.fromkeys(floats, pa.float64()) | dict.fromkeys(shorts, pa.int16())
    return pa, pq, pa.schema([(name, kinds.get(name, pa.int64())) for name in COLUMNS])


def target(path: Path, sweep: Sweep) -> Target:
    """The file by its ending. Raises PlannerError for another one."""
    kinds: dict[str, type[Target]] = {".json": Json, ".csv": Csv, ".parquet": Parquet}
    if path.suffix not in kinds:
        raise FileError(path, f"a sweep is written as {', '.join(FORMATS)}", f"--output {path.stem or 'sweep'}.csv")
    return kinds[path.suffix](path, sweep)
