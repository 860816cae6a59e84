"""What macOS lets the GPU of a Mac wire: the room of MLX and of llama.cpp's Metal backend."""

from __future__ import annotations

from planner.errors import PlannerError
from planner.facts.hardware import GpuSpec
from planner.units import GIB, MIB


def wired_bytes(gpu: GpuSpec, wired_limit_mb: int | None = None) -> tuple[int, int]:
    """What the GPU may wire, expected and conservative: `iogpu.wired_limit_mb` where it is set, else by the size of the RAM."""
    if wired_limit_mb is not None:
        return wired_limit_mb * MIB, wired_limit_mb * MIB
    ram = gpu.memory_bytes
    expected, conservative = (int(ram * next(share for least, share in table if ram >= least)) for table in (_WORKING_SETS, _OLDER_MACOS))
    return expected, conservative


def check_wired_limit(gpu: GpuSpec, wired_limit_mb: int | None) -> None:
    """Refuse a limit that this machine cannot have. Raises PlannerError."""
    if wired_limit_mb is not None and (gpu.vendor != "apple" or wired_limit_mb * MIB > gpu.memory_bytes):
        raise PlannerError(f"--wired-limit-mb {wired_limit_mb}: {gpu.title} has {gpu.memory_bytes // MIB} MiB", "it is a setting of macOS, below the RAM")


# What Metal recommends as working set (recommendedMaxWorkingSetSize) by RAM, as a share: 10.67 of 16 GiB (ggml-org/ci mac-m4), 24.96 of 32
# (ollama#16030), 51.9 of 64 (slotstream#22), 107.5 of 128 (ollama llama_server.go); between them the lower neighbour's share.
_WORKING_SETS = ((128 * GIB, 0.84), (64 * GIB, 0.81), (32 * GIB, 0.78), (0, 2 / 3))


_OLDER_MACOS = ((64 * GIB, 0.75), (0, 2 / 3))  # what earlier versions gave: the conservative end
