"""The catalogues that ship: JSON that `build.py` makes of the YAML, a row a line. Reading it takes milliseconds; a row is parsed when it is asked for."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from planner.catalogue.data import RowData
from planner.catalogue.rows import GpuRow, ModelRow, Pcie, Quality
from planner.facts.deployment import Sampling
from planner.facts.document import Lines
from planner.facts.model import CheckpointDifference
from planner.facts.variant import Variant

FOLDER = Path(__file__).with_name("data")
_ROWS = b'\n},\n"rows":{'  # behind the names, as `build.py` writes them


@cache
def shipped(name: str) -> Any:
    """What data/NAME.json holds."""
    text = (FOLDER / f"{name}.json").read_bytes()
    end = text.find(_ROWS)
    return json.loads(text) if end < 0 else {"names": Lines(text, text.find(b"\n"), end), "rows": Lines(text, end + len(_ROWS))}


def gpu_row(data: RowData) -> GpuRow:
    """A row of valid data."""
    return GpuRow(**data | {"pcie": Pcie(**data["pcie"]) if data.get("pcie") else None})


def model_row(data: RowData, row_type: type[ModelRow] = ModelRow) -> ModelRow:
    """A row of valid data."""
    variants = [
        Variant(**variant | ({"checkpoint": CheckpointDifference(**held)} if (held := variant.get("checkpoint")) else {})) for variant in data["variants"]
    ]
    quality = [Quality(**figure) for figure in data.get("quality", ())]
    return row_type(**data | {"variants": variants, "quality": quality, "sampling": Sampling(**data["sampling"]) if data.get("sampling") else None})


@cache
def shipped_gpu(name: str) -> GpuRow:
    """The GPU of this name in gpus.json. Raises KeyError."""
    return gpu_row(shipped("gpus")["rows"][name])


@cache
def shipped_model(name: str) -> ModelRow:
    """The model of this name in models.json. Raises KeyError."""
    return model_row(shipped("models")["rows"][name])
