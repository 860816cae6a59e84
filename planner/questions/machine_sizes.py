"""How many GPUs a machine has that is rented or sold: data of prices.yaml, or of a user's own file, by the kind of the GPU."""

from __future__ import annotations

from planner.catalogue.prices import Prices
from planner.catalogue.rows import MachineKind
from planner.facts.hardware import GpuSpec
from planner.speed.work import gpu_kind

ANY_SIZE = tuple(range(1, 9))  # where no file says which sizes there are


def sizes_of(gpu: GpuSpec, prices: Prices) -> tuple[int, ...]:
    """The numbers of such GPUs that machines have."""
    return prices.sizes.get(machine_kind(gpu), ANY_SIZE)


def machine_kind(gpu: GpuSpec) -> MachineKind:
    """In which machines such GPUs are rented and sold."""
    if gpu.unified_memory or gpu.mobile:
        return "whole"
    match gpu_kind(gpu):
        case "apple" | "unified":
            return "whole"
        case "amd":
            return "instinct" if gpu.memory_type == "hbm" else "consumer"
        case "datacenter":
            return "datacenter"
        case "workstation" if gpu.vendor == "nvidia":
            return "workstation"
        case _:
            return "consumer"
