"""Rows as people write them in YAML: gpus.yaml, models.yaml, and files of their own (`--gpus`, `--models`). Read by the build and for own files only."""

from __future__ import annotations

from dataclasses import field
from math import isfinite
from pathlib import Path

from planner.catalogue.data import RowData
from planner.catalogue.names import gpu_keys, row_names
from planner.catalogue.rows import GpuRow, ModelRow
from planner.catalogue.shipped import gpu_row, model_row
from planner.catalogue.validation import Location, first_fault
from planner.catalogue.yaml_file import line_of, read_yaml
from planner.engines import ENGINES, first_engine
from planner.errors import CatalogError, PlannerError
from planner.facts.record import dataclass

MOST_BYTES = 4 * 1024 * 1024
_PROVENANCE = ("sources", "checked")  # stays in the YAML: nothing that is printed says it
_SHARES = ("temperature", "top_p", "min_p", "presence_penalty")  # a row may say 0 for 0.0; plan.json is read back as the latter


@dataclass(frozen=True, kw_only=True)
class WrittenGpu(GpuRow):
    """One GPU."""

    sources: dict[str, str] = field(default_factory=dict)
    """Where each figure was found; every row of gpus.yaml says it."""
    checked: str = ""
    """The day on which somebody looked last."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WrittenModel(ModelRow):
    """One model."""

    sources: list[str] = field(default_factory=list)
    """Where its config and figures were found; every row of models.yaml says it."""
    checked: str = ""
    """The day on which somebody looked last."""


def read_gpus(path: Path, *, sourced: bool = False) -> dict[str, RowData]:
    """The rows of a file like gpus.yaml by their names, without provenance; `sourced` where each must have it. Raises CatalogError with file and line."""
    rows = _read(path, WrittenGpu, sourced=sourced)
    known: dict[str, str] = {}
    for index, row in enumerate(rows):
        if (row.get("cuda_total_gib") or 0) * 1024 > row["memory_mib"]:
            raise _fault(path, (index, "cuda_total_gib"), "more than memory_mib")
        _refuse_taken(path, index, known, gpu_keys(gpu_row(row)), row["name"])
    return {row["name"]: row for row in rows}


def read_models(path: Path, *, sourced: bool = False) -> dict[str, RowData]:
    """The rows of a file like models.yaml by their names, as `read_gpus`."""
    rows = _read(path, WrittenModel, sourced=sourced)
    known: dict[str, str] = {}
    for index, row in enumerate(rows):
        if sampling := row.get("sampling"):
            row["sampling"] = sampling | {name: float(sampling[name]) for name in _SHARES if sampling.get(name) is not None}
        if sum(bool(variant.get("default")) for variant in row["variants"]) != 1:
            raise _fault(path, (index, "variants"), "exactly one variant is the default")
        for number, variant in enumerate(row["variants"]):
            if variant.get("runtime", "") not in ("", *ENGINES):
                raise _fault(path, (index, "variants", number, "runtime"), f"expected one of {', '.join(ENGINES)}")
            if variant.get("runtime") == first_engine().name:  # whose format is that of checkpoints
                del variant["runtime"]
        _refuse_taken(path, index, known, row_names(model_row(row)), row["name"])
    return {row["name"]: row for row in rows}


def _read(path: Path, row_type: type, *, sourced: bool) -> list[RowData]:
    rows = read_yaml(path, MOST_BYTES)
    if not isinstance(rows, list):
        raise CatalogError(f"{path}: expected a list of rows", "`plan schema gpus` and `plan schema models` say what a row holds")
    for index, row in enumerate(rows):
        if fault := first_fault(row, row_type) or _not_finite(row):
            raise _fault(path, (index, *fault[0]), fault[1])
        if lacking := [key for key in _PROVENANCE if sourced and not row.get(key)]:
            raise _fault(path, (index,), f"{lacking[0]} is missing")
    return [{key: value for key, value in row.items() if key not in _PROVENANCE} for row in rows]


def _not_finite(row: RowData) -> tuple[Location, str] | None:
    numbers = {(key,): value for key, value in row.items()} | {("dense_tflops", key): value for key, value in row.get("dense_tflops", {}).items()}
    return next(((where, f"{value} is no number") for where, value in numbers.items() if isinstance(value, float) and not isfinite(value)), None)


def _refuse_taken(path: Path, index: int, known: dict[str, str], keys: set[str], name: str) -> None:
    """Refuse a name that an earlier row has: the first of them would hide the other."""
    for key in sorted(keys):
        if key in known:
            raise _fault(path, (index,), f"the name {key!r} is {known[key]}'s")
        known[key] = name


def _fault(path: Path, where: Location, message: str) -> PlannerError:
    keys = ".".join(map(str, where[1:]))
    return CatalogError(f"{path}:{line_of(path, where)}: {f'{keys}: ' if keys else ''}{message}")
