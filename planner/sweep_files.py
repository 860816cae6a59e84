"""A sweep's rows as JSON, CSV or Parquet: each part is added whole, what lies there is valid after each, and can be continued.

Beside an unfinished FILE lies FILE.unfinished: the question, the models that are done, and how much of the file they are.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from planner.errors import PlannerError
from planner.grid import Array
from planner.sweep import COLUMNS, Sweep, decoded

FORMATS = (".json", ".csv", ".parquet")


class Target(ABC):
    """A file that takes parts."""

    def __init__(self, path: Path, sweep: Sweep) -> None:
        self.path, self.sweep = path, sweep
        self.done: list[str] = []
        self.rows = 0
        self.is_open = False
        self.state = path.with_name(path.name + ".unfinished")
        self.question = hashlib.sha256(json.dumps(asdict(sweep)).encode()).hexdigest()

    def resume(self) -> None:
        """Go on where an interrupted sweep of the same question ended. Raises PlannerError where there is none."""
        try:
            kept = json.loads(self.state.read_text("utf-8"))
        except (OSError, ValueError):
            raise PlannerError(f"{self.path}: there is no unfinished sweep", "without --resume a new one is started") from None
        if not isinstance(kept, dict) or kept.get("question") != self.question:
            raise PlannerError(f"{self.path}: the unfinished sweep asked something else", "the same options, or another --output")
        self.done, self.rows = [str(model) for model in kept["done"]], int(kept["rows"])
        self.reopen(int(kept["size_bytes"]))

    def add(self, model: str, columns: dict[str, Array]) -> None:
        """Add a model's rows."""
        if columns and len(columns["gpu"]):
            self.write(decoded(self.sweep, model, columns))
            self.rows += len(columns["gpu"])
        self.done.append(model)
        kept = {"question": self.question, "done": self.done, "rows": self.rows, "size_bytes": self.flush()}
        self.state.write_text(json.dumps(kept), "utf-8")

    def finish(self) -> None:
        """Close the file, which holds every model."""
        self.close()
        self.state.unlink(missing_ok=True)

    @abstractmethod
    def start(self) -> None:
        """A new, empty, valid file."""

    @abstractmethod
    def reopen(self, size_bytes: int) -> None:
        """Take up a file of which so many bytes are whole."""

    @abstractmethod
    def write(self, rows: dict[str, Any]) -> None:
        """Add rows."""

    @abstractmethod
    def flush(self) -> int:
        """Put all on the disk; the bytes of whole parts."""

    @abstractmethod
    def close(self) -> None:
        """Leave a valid file."""


class _Text(Target):
    """A text file that grows; `end` closes it, and is written over by the next part."""

    head, end = "", ""
    file: IO[bytes]

    def start(self) -> None:
        """See `Target`."""
        self.file = self.path.open("w+b")
        self.is_open = True
        self.file.write(self.head.encode())
        self.size = self.file.tell()
        self.flush()

    def reopen(self, size_bytes: int) -> None:
        """See `Target`."""
        self.file = self.path.open("r+b")
        self.is_open = True
        self.file.truncate(size_bytes)
        self.size = size_bytes

    def write(self, rows: dict[str, Any]) -> None:
        """See `Target`."""
        self.file.seek(self.size)
        self.file.write(self.text(rows).encode())
        self.size = self.file.tell()

    def text(self, rows: dict[str, Any]) -> str:
        """See `Target`."""
        raise NotImplementedError

    def flush(self) -> int:
        """See `Target`."""
        self.file.seek(self.size)
        self.file.write(self.end.encode())
        self.file.truncate()
        self.file.flush()
        return self.size

    def close(self) -> None:
        """See `Target`."""
        self.flush()
        self.file.close()


class Csv(_Text):
    """Comma-separated, a header, nothing where a value is not known."""

    head = ",".join(COLUMNS) + "\n"

    def text(self, rows: dict[str, Any]) -> str:
        """See `Target`."""
        lists = [rows[name].tolist() for name in COLUMNS]
        return "".join(",".join("" if value != value else str(value) for value in row) + "\n" for row in zip(*lists, strict=True))  # noqa: PLR0124 - NaN


class Json(_Text):
    """One array of objects, a row a line."""

    head, end = "[", "\n]\n"

    def text(self, rows: dict[str, Any]) -> str:
        """See `Target`."""
        lists = [rows[name].tolist() for name in COLUMNS]
        objects = (dict(zip(COLUMNS, (None if value != value else value for value in row), strict=True)) for row in zip(*lists, strict=True))  # noqa: PLR0124
        before = ",\n" if self.rows else "\n"
        return before + ",\n".join(json.dumps(row) for row in objects)


class Parquet(Target):
    """One row group a model. A Parquet file is valid once it is closed: an unfinished one is closed at Ctrl-C, and copied to go on."""

    writer: Any = None

    def start(self) -> None:
        """See `Target`."""
        pq, schema = _arrow()
        self.writer = pq.ParquetWriter(self.path, schema, compression="zstd")
        self.is_open = True

    def reopen(self, size_bytes: int) -> None:
        """See `Target`."""
        pq, _ = _arrow()
        kept = self.path.rename(self.path.with_name(self.path.name + ".kept"))
        self.start()
        with pq.ParquetFile(kept) as old:
            for number in range(old.num_row_groups):
                self.writer.write_table(old.read_row_group(number))
        kept.unlink()

    def write(self, rows: dict[str, Any]) -> None:
        """See `Target`."""
        import pyarrow as pa

        _, schema = _arrow()
        arrays = [pa.array(rows[name], type=schema.field(name).type, from_pandas=True) for name in COLUMNS]
        self.writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

    def flush(self) -> int:
        """See `Target`."""
        return 0

    def close(self) -> None:
        """See `Target`."""
        self.writer.close()


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise PlannerError("Parquet needs pyarrow", "pip install pyarrow, or write .csv or .json") from None
    texts, floats, shorts = ("model", "gpu", "kv_cache_dtype", "verdict"), ("max_concurrency", "max_concurrency_low", "tokens_per_s"), ("count",)
    kinds = {name: pa.dictionary(pa.int32(), pa.string()) for name in texts} | dict.fromkeys(floats, pa.float64()) | dict.fromkeys(shorts, pa.int16())
    return pq, pa.schema([(name, kinds.get(name, pa.int64())) for name in COLUMNS])


def target(path: Path, sweep: Sweep) -> Target:
    """The file by its ending. Raises PlannerError for another one."""
    kinds: dict[str, type[Target]] = {".json": Json, ".csv": Csv, ".parquet": Parquet}
    if path.suffix not in kinds:
        raise PlannerError(f"{path}: a sweep is written as {', '.join(FORMATS)}", f"--output {path.stem or 'sweep'}.csv")
    return kinds[path.suffix](path, sweep)
