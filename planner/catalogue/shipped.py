"""The catalogues that ship: JSON that `build.py` makes of the YAML, a row a line. Reading it takes milliseconds; a row is parsed when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from planner.catalogue.data import RowData
from planner.catalogue.rows import GpuRow, ModelRow, Pcie
from planner.facts.deployment import Sampling
from planner.facts.model import CheckpointDifference
from planner.facts.variant import Variant

FOLDER = Path(__file__).with_name("data")
_ROWS = b',\n"rows":{\n'  # as `build.py` writes it, last


class _Rows(Mapping[str, RowData]):
    """Rows by their names: one is looked for where it is asked for, all are found once they are listed."""

    def __init__(self, text: bytes, start: int) -> None:
        self._text, self._start = text, start

    @cached_property
    def _lines(self) -> dict[str, bytes]:
        cut = (line.partition(b'":') for line in self._text[self._start :].splitlines()[:-1])
        return {name[1:].decode(): row for name, _, row in cut}

    def __getitem__(self, name: str) -> RowData:
        row: RowData = json.loads((self._lines[name] if "_lines" in vars(self) else self._line(name)).rstrip(b","))
        return row

    def _line(self, name: str) -> bytes:
        mark = b'\n"' + name.encode() + b'":'
        start = self._text.find(mark, self._start - 1)
        if start < 0:
            raise KeyError(name)
        start += len(mark)
        return self._text[start : self._text.find(b"\n", start)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


@cache
def shipped(name: str) -> Any:
    """What data/NAME.json holds."""
    text = (FOLDER / f"{name}.json").read_bytes()
    end = text.find(_ROWS)
    return json.loads(text) if end < 0 else json.loads(text[:end] + b"}") | {"rows": _Rows(text, end + len(_ROWS))}


def gpu_row(data: RowData) -> GpuRow:
    """A row of valid data."""
    return GpuRow(**data | {"pcie": Pcie(**data["pcie"]) if data.get("pcie") else None})


def model_row(data: RowData, row_type: type[ModelRow] = ModelRow) -> ModelRow:
    """A row of valid data."""
    variants = [
        Variant(**variant | ({"checkpoint": CheckpointDifference(**held)} if (held := variant.get("checkpoint")) else {})) for variant in data["variants"]
    ]
    return row_type(**data | {"variants": variants, "sampling": Sampling(**data["sampling"]) if data.get("sampling") else None})


@cache
def shipped_gpu(name: str) -> GpuRow:
    """The GPU of this name in gpus.json. Raises KeyError."""
    return gpu_row(shipped("gpus")["rows"][name])


@cache
def shipped_model(name: str) -> ModelRow:
    """The model of this name in models.json. Raises KeyError."""
    return model_row(shipped("models")["rows"][name])
