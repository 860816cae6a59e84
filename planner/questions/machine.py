"""The machine of a question: cards of the catalogue, one that is described, several that differ; what a person says of its memory."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Protocol

from planner.catalogue.data import RowData
from planner.catalogue.load import find_gpu
from planner.catalogue.shipped import gpu_row
from planner.errors import PlannerError
from planner.facts.command_line import AUTO
from planner.facts.hardware import GpuGroup, GpuSpec, Host, mixed_group
from planner.facts.question import StackRow
from planner.units import GIB, MIB, parse_size

CUSTOM = "custom"  # as --gpu: a card that is described
_DESCRIBED = {"vram": "--vram 16GiB", "bandwidth": "--bandwidth 672"}
_KEPT_BACK = {"amd": 191.69 / 192, "intel": 15473.5 / 16384}  # what is usable of what the driver reports, as gpus.yaml estimates it
VENDORS = ("nvidia", "amd", "intel")
_SMI_ROUNDS = 16 * MIB

MOST_GIB = 1 << 20  # of one card: what is more is refused by its own size


class Described(Protocol):
    """What may be said of a card that the catalogue does not have."""

    @property
    def vram(self) -> int | str | None:
        """Its memory, as its driver reports it."""

    @property
    def bandwidth(self) -> float | None:
        """Of its memory, in GB/s."""

    @property
    def compute_capability(self) -> str | None:
        """NVIDIA's."""

    @property
    def vendor(self) -> str | None:
        """Its maker."""


def gpus_of(names: str, asked: Described) -> tuple[GpuSpec, ...]:
    """The cards that are named, commas between them. Raises PlannerError for one that is not known, and for a description that is none or of no card."""
    named = [name.strip() for name in names.split(",") if name.strip()] or [names]
    given = [field for field in (*_DESCRIBED, "compute_capability", "vendor") if getattr(asked, field) is not None]
    if given and CUSTOM not in named:
        raise PlannerError(f"--{given[0].replace('_', '-')} describes a card that the catalogue does not have; {names[:60]} is named", f"--gpu {CUSTOM}")
    return tuple(gpu_row(described_row(asked)).spec() if name == CUSTOM else find_gpu(name) for name in named)


def described_row(asked: Described, name: str = CUSTOM) -> RowData:
    """A row of a card by what is said of it; what is usable of its memory is estimated as that of the catalogue's. Raises PlannerError for what can be none."""
    if lacking := [flag for field, flag in _DESCRIBED.items() if getattr(asked, field) is None]:
        raise PlannerError(
            f"a card that is described has {' and '.join(_DESCRIBED.values())}: {lacking[0].split()[0]} is missing", " ".join(_DESCRIBED.values())
        )
    memory = parse_size(asked.vram) if isinstance(asked.vram, str) else asked.vram or 0
    vendor = asked.vendor or "nvidia"
    if vendor not in VENDORS:
        raise PlannerError(f"--vendor {vendor[:40]}: expected {', '.join(VENDORS)}", "a Mac is named with its memory: --gpu m4-max-64gb")
    if not GIB <= memory <= 1024 * GIB:
        raise PlannerError(f"--vram: {memory / GIB:.2f} GiB is no card's memory", "--vram 16GiB")
    capability = asked.compute_capability
    if vendor == "nvidia" and not re.fullmatch(r"\d{1,2}\.\d", capability or ""):
        raise PlannerError(
            f"--compute-capability is {'missing' if capability is None else repr(capability[:20])}", "as nvidia-smi --query-gpu=compute_cap says: 8.9"
        )
    if vendor != "nvidia" and capability is not None:
        raise PlannerError("--compute-capability is NVIDIA's", f"leave it out for --vendor {vendor}")
    return _row(memory // MIB, asked.bandwidth or 0.0, capability, vendor, name)


def _row(memory_mib: int, bandwidth: float, capability: str | None, vendor: str, name: str) -> RowData:
    """A row of what is known of a card."""
    usable = memory_mib * _KEPT_BACK[vendor] if vendor in _KEPT_BACK else memory_mib - max(450, 0.0085 * memory_mib)
    kind = f"{vendor.upper() if vendor == 'amd' else vendor.capitalize()}, " if vendor != "nvidia" else ""
    row: RowData = {"name": name, "title": f"{name} ({kind}{memory_mib / 1024:.4g} GiB, {bandwidth:g} GB/s)", "vendor": vendor, "memory": "gddr"}
    row |= {"memory_mib": memory_mib, "cuda_total_gib": int(usable / 1024 * 100) / 100, "cuda_total_estimated": True, "bandwidth_gb_per_s": float(bandwidth)}
    return row | ({"compute_capability": capability} if capability else {})


def machine_of(row: StackRow) -> GpuGroup:
    """The machine of a question, with what was observed on it before. Raises PlannerError where its cards cannot stand together."""
    from planner.machine.calibration import calibrated

    gpus = tuple(_told(calibrated(gpu), row) for gpu in gpus_of(row.gpu, row))
    host = Host(row.host)
    if row.free_gib is not None and host is Host.DESKTOP:
        host = Host.SERVER  # what is free is told: nothing is taken off for a screen
    group = GpuGroup(
        gpu=gpus[0],
        count=row.count * row.nodes,
        host=host,
        nodes=row.nodes,
        link_bytes_per_s=int((row.link_gb_per_s or 0.0) * 1e9),
        power_limit_w=row.power_limit_w or 0.0,
        ram_bytes=row.ram_bytes or _main_memory(row),
    )
    if len(gpus) == 1:
        return group
    if row.count > 1 or row.nodes > 1:
        raise PlannerError(
            f"--{'count' if row.count > 1 else 'nodes'} is of one kind of GPU, and {len(gpus)} are named",
            "name each: --gpu rtx3090 --gpu rtx3090 --gpu rtx4090",
        )
    return mixed_group(gpus, group)


def _main_memory(row: StackRow) -> int:
    """That of this machine, where its GPUs are meant; 0 where nobody said."""
    if row.gpu != AUTO:
        return 0
    from planner.machine.ram import main_memory_bytes

    return main_memory_bytes()


def _told(gpu: GpuSpec, row: StackRow) -> GpuSpec:
    """A card with what a person read off the driver: CUDA's total, and what of it is free."""
    total, free = (None if value is None else int(min(value, MOST_GIB) * GIB) for value in (row.total_gib, row.free_gib))
    if total is not None:
        if total > gpu.memory_bytes * 1.02:
            raise PlannerError(f"--total-gib {row.total_gib:g}: {gpu.title} has {gpu.memory_bytes / GIB:.2f} GiB", "leave it out, or name another card")
        if abs(total - gpu.memory_bytes) > _SMI_ROUNDS:  # else it is nvidia-smi's own total, of which CUDA sees less
            gpu = replace(
                gpu, cuda_total_bytes=total, wsl2_total_bytes=total, cuda_total_estimated=False, free_at_start_bytes=None, wsl2_free_at_start_bytes=None
            )
            gpu = replace(gpu, most_total_bytes=None, most_free_bytes=None)
    if free is None:
        return gpu
    if free > gpu.memory_bytes:
        raise PlannerError(f"--free-gib {row.free_gib:g} is more than {gpu.title} has", f"at most {gpu.memory_bytes / GIB:.2f}")
    return replace(gpu, free_at_start_bytes=free, wsl2_free_at_start_bytes=free, free_is_told=True, most_free_bytes=None)
