"""GPUs as the ledger asks of them, a row a GPU and a column a number of ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.arrays import Array
from planner.engines.vllm.device import Device

NAMES = tuple(name for name in Device.__slots__ if name != "shift_bytes")  # what a start on one machine told belongs to no grid


def stacked(devices: Sequence[Sequence[Device[int]]]) -> Device[Array]:
    """Every fact as one array, rows of devices by columns."""
    facts = {name: np.array([[getattr(device, name) for device in row] for row in devices]) for name in NAMES}
    return Device(**facts, shift_bytes=None)


def picked(devices: Device[Array], row: Array, column: Array) -> Device[Array]:
    """The devices of some rows and columns, as a column."""
    facts: dict[str, Array] = {name: getattr(devices, name)[row, column][:, None] for name in NAMES}
    return Device(**facts, shift_bytes=None)
