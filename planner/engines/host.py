"""Main memory: whether a machine has what a server keeps there beside its GPUs, for every engine that keeps some."""

from __future__ import annotations

from planner.facts.hardware import GpuGroup, Host
from planner.facts.plan import Problem
from planner.facts.verdict import Warn
from planner.units import GIB, gib

SERVER_BYTES, DESKTOP_BYTES = 2 * GIB, 4 * GIB
"""What the system and other programs take of main memory, of a machine without and with a screen. GUESS: nobody measured it, so it makes no refusal; but what
leaves less is no sure start (on a Mac of 16 GB the experts of gpt-oss-20b were put there and it ran out anyway: ggml-org/Llama-macOS#58)."""


def main_memory_bytes(group: GpuGroup, used_bytes: int) -> int:
    """What the machine has beside what its GPUs take: of one memory for both the rest, else as it was told; 0 where nobody said."""
    return max(group.gpu.memory_bytes - used_bytes, 1) if group.gpu.unified_memory else group.ram_bytes


def too_little(need_bytes: int, note: str, ram_bytes: int, *, fix: str) -> Problem | None:
    """Why a machine's main memory does not hold that; None where it does, or nobody said how much there is."""
    if not ram_bytes or need_bytes <= ram_bytes:
        return None
    message = f"{gib(need_bytes)} of main memory are needed ({note}), the machine has {gib(ram_bytes)}"
    return Problem(code="out-of-memory", message=message, fix=fix)


LITTLE_LEFT = "main-memory-tight"
"""The code of the warning that makes a start no sure one."""


def leaves_little(group: GpuGroup, need_bytes: int, ram_bytes: int) -> str:
    """In words, how little main memory a server leaves to the system and other programs; empty where it leaves enough, or nobody said how much there is."""
    has_screen = group.gpu.vendor == "apple" or group.host is not Host.SERVER
    left = ram_bytes - need_bytes
    if not ram_bytes or not 0 <= left < (enough := DESKTOP_BYTES if has_screen else SERVER_BYTES):
        return ""
    return f"{gib(left)} of {gib(ram_bytes)} main memory would be left; a system and other programs take about {gib(enough)} (a guess)"


def unchecked(need_bytes: int, note: str, ram_bytes: int) -> list[Warn]:
    """What nobody could check, where nobody said how much main memory there is."""
    if ram_bytes or not need_bytes:
        return []
    return [Warn(code="main-memory", message=f"{gib(need_bytes)} of main memory are needed ({note}); --ram says how much the machine has")]
