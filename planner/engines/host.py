"""Main memory: whether a machine has what a server keeps there beside its GPUs, for every engine that keeps some."""

from __future__ import annotations

from planner.facts.hardware import GpuGroup
from planner.facts.plan import Problem
from planner.facts.verdict import Warn
from planner.units import gib


def main_memory_bytes(group: GpuGroup, used_bytes: int) -> int:
    """What the machine has beside what its GPUs take: of one memory for both the rest, else as it was told; 0 where nobody said."""
    return max(group.gpu.memory_bytes - used_bytes, 1) if group.gpu.unified_memory else group.ram_bytes


def too_little(need_bytes: int, note: str, ram_bytes: int, *, fix: str) -> Problem | None:
    """Why a machine's main memory does not hold that; None where it does, or nobody said how much there is."""
    if not ram_bytes or need_bytes <= ram_bytes:
        return None
    message = f"{gib(need_bytes)} of main memory are needed ({note}), the machine has {gib(ram_bytes)}"
    return Problem(code="out-of-memory", message=message, fix=fix)


def unchecked(need_bytes: int, note: str, ram_bytes: int) -> list[Warn]:
    """What nobody could check, where nobody said how much main memory there is."""
    if ram_bytes or not need_bytes:
        return []
    return [Warn(code="main-memory", message=f"{gib(need_bytes)} of main memory are needed ({note}); --ram says how much the machine has")]
