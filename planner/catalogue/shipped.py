"""The catalogues that ship: JSON that `build.py` makes of the YAML, a row a line. Reading it takes milliseconds; a row is parsed when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from planner.catalogue.data import RowData
from planner.catalogue.rows import GpuRow, ModelRow, Pcie
from planner.facts.deployment import Sampling
from planner.facts.variant import Variant

FOLDER = Path(__file__).with_name("data")
_ROWS = ',\n"rows":{\n'  # as `build.py` writes it, last


class _Rows(Mapping[str, RowData]):
    """Rows by their names, each parsed when it is asked for."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._texts = {name: text for name, _, text in (line.removeprefix('"').rstrip(",").partition('":') for line in lines)}

    def __getitem__(self, name: str) -> RowData:
        row: RowData = json.loads(self._texts[name])
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


@cache
def shipped(name: str) -> Any:
    """What data/NAME.json holds."""
    text = (FOLDER / f"{name}.json").read_text("utf-8")
    before, found, rows = text.partition(_ROWS)
    if not found:
        return json.loads(text)
    return json.loads(before + "}") | {"rows": _Rows(rows.removesuffix("\n}}\n").splitlines())}


def gpu_row(data: RowData) -> GpuRow:
    """A row of valid data."""
    return GpuRow(**data | {"pcie": Pcie(**data["pcie"]) if data.get("pcie") else None})


def model_row(data: RowData, row_type: type[ModelRow] = ModelRow) -> ModelRow:
    """A row of valid data."""
    variants = [Variant(**variant) for variant in data["variants"]]
    return row_type(**data | {"variants": variants, "sampling": Sampling(**data["sampling"]) if data.get("sampling") else None})


@cache
def shipped_gpu(name: str) -> GpuRow:
    """The GPU of this name in gpus.json. Raises KeyError."""
    return gpu_row(shipped("gpus")["rows"][name])


@cache
def shipped_model(name: str) -> ModelRow:
    """The model of this name in models.json. Raises KeyError."""
    return model_row(shipped("models")["rows"][name])
