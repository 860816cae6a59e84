"""The cards that a machine for the default engine may be built of."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalogue.load import gpu_rows
from planner.engines import first_engine
from planner.facts.hardware import GpuSpec


def served() -> Iterator[GpuSpec]:
    """Every GPU that it runs on, whatever that is part of."""
    engine = first_engine()
    return (row.spec() for row in gpu_rows() if not row.memory_options_gb and not engine.refuses(row.spec()))


def cards() -> Iterator[GpuSpec]:
    """Those that one buys or rents by themselves."""
    return (spec for spec in served() if not spec.mobile)
