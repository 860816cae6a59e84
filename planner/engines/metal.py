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


def largest_buffer_bytes(gpu: GpuSpec) -> tuple[int, int]:
    """The largest single buffer that Metal gives, expected and conservative: three quarters of the working set, whatever `iogpu.wired_limit_mb` says.

    maxBufferLength as mlx.core.device_info() printed it: 30,150,672,384 on an M4 Pro of 48 GB, 41,747,087,360 and 86,586,540,032 on M5 Max of 64 and
    128 GB (the limit raised), 167,503,724,544 on an M3 Ultra of 256 GB; 20.10 GB in a refusal on an M1 Max of 32 GB (0xSero/local-ai-registry#43).
    """
    expected, conservative = wired_bytes(gpu)
    return expected * 3 // 4, conservative * 3 // 4


def check_wired_limit(gpu: GpuSpec, wired_limit_mb: int | None) -> None:
    """Refuse a limit that this machine cannot have. Raises PlannerError."""
    if wired_limit_mb is not None and (gpu.vendor != "apple" or wired_limit_mb * MIB > gpu.memory_bytes):
        raise PlannerError(f"--wired-limit-mb {wired_limit_mb}: {gpu.title} has {gpu.memory_bytes // MIB} MiB", "it is a setting of macOS, below the RAM")


# What Metal recommends as working set (recommendedMaxWorkingSetSize) by RAM, as a share: 10.67 of 16 GiB (ggml-org/ci mac-m4), 24.96 of 32
# (ollama#16030), 51.9 of 64 (slotstream#22), 107.5 of 128 (ollama llama_server.go), 208 of 256 (M3 Ultra, mlx.core.device_info()); between them the
# lower neighbour's share.
_WORKING_SETS = ((256 * GIB, 0.8125), (128 * GIB, 0.84), (64 * GIB, 0.81), (32 * GIB, 0.78), (0, 2 / 3))


_OLDER_MACOS = ((64 * GIB, 0.75), (0, 2 / 3))  # what earlier versions gave: the conservative end
