"""Old prompts that mlx_vlm.server keeps: off unless APC_ENABLED says so, bounded by APC_MEMORY_MAX_GB (mlx-vlm 0.7.10 apc.py)."""

from __future__ import annotations

from collections.abc import Mapping

from planner.engines.metal import wired_bytes
from planner.facts.hardware import GpuSpec
from planner.units import GIB

_TRUE = ("1", "true", "yes")


def automatic_budget(gpu: GpuSpec, wired_limit_mb: int | None) -> int:
    """What is kept where nothing is said: a tenth of the working set, 8 GiB at most (APCManager)."""
    return min(8 * GIB, wired_bytes(gpu, wired_limit_mb)[0] // 10)


def prefix_cache(size_bytes: int) -> dict[str, str]:
    """The environment that lets an agent's next turn reuse what was read; what does not fit is kept on the disk."""
    return {"APC_ENABLED": "1", "APC_MEMORY_MAX_GB": f"{size_bytes * 100 // GIB / 100:g}"}


def kept_bytes(env: Mapping[str, str], gpu: GpuSpec) -> int:
    """What a server with an environment may keep."""
    if env.get("APC_ENABLED", "0").lower() not in _TRUE:
        return 0
    said = env.get("APC_MEMORY_MAX_GB", "")
    return int(float(said) * GIB) if said.replace(".", "", 1).isdecimal() else automatic_budget(gpu, None)
