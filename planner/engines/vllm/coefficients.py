"""overhead.json: what was calibrated, by outlook and by class of GPU. `python -m benchmarks.calibrate` writes it."""

from __future__ import annotations

import json
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from planner.facts.record import dataclass
from planner.units import GIB

if TYPE_CHECKING:  # the types of the file, which cost a hundredth of a plan
    from typing import TypedDict

    class _Fit(TypedDict):
        gpu: str  # whose starts were fitted

    class _Activation(TypedDict):
        sampler_copies: float
        hidden_copies: float
        expert_copies: float
        first_stage_share: float
        residual_gib_p90: float

    class _CudaGraph(TypedDict):
        base_gib: float
        per_layer_gib: float
        experts_gib: float
        full_set_sizes: int
        residual_gib_p90: float

    class _NonTorch(TypedDict):
        """In GiB, by outlook in their order."""

        single_gib: list[float]
        pipeline_gib: list[float]
        nvlink_gib: list[float]
        pcie_2_gib: list[float]
        pcie_4_gib: list[float]

    class _Estimates(TypedDict):
        stream_copies: float
        fused_stream_share: list[float]  # by outlook in their order
        conservative_factor: float
        optimistic_factor: float
        sampler_copies_at_most: float
        graphs_of_other_gpus: list[float]  # by outlook in their order
        unlinked_graphs: float
        older_driver_graphs: float
        gathered_graphs_gib: float
        unprofiled_sampler_copies: list[float]
        gathered_share: list[float]
        lean_links_gib: list[float]  # by outlook, of releases that keep less for GPUs joined by switches
        sleep_gib: list[float]
        tensor_maps_mib: float  # of each multiprocessor

    class GpuClass(TypedDict):
        """What starts on GPUs of a class took beside what the causes give, in GiB by outlook; of how many starts on how many kinds of GPU."""

        starts: int
        gpus: int
        single_gib: list[float]
        several_gib: list[float]

    class Coefficients(TypedDict):
        """overhead.json; what each is and where it is from, the file says."""

        fit: _Fit
        classes: dict[str, GpuClass]
        activation: _Activation
        cuda_graph: _CudaGraph
        non_torch: _NonTorch
        estimates: _Estimates


class Outlook(StrEnum):
    """Which coefficients: the fit, its conservative end or its optimistic end."""

    EXPECTED = "expected"
    CONSERVATIVE = "conservative"
    OPTIMISTIC = "optimistic"


@cache
def coefficients() -> Coefficients:
    """The calibrated coefficients."""
    loaded: Coefficients = json.loads(Path(__file__).with_name("overhead.json").read_text("utf-8"))
    return loaded


@dataclass(frozen=True, slots=True)
class At:
    """Those coefficients that are given for each outlook: bytes outside torch, and the share of graphs on other cards than the fit's."""

    single_bytes: int
    pipeline_bytes: int
    nvlink_bytes: int
    lean_nvlink_bytes: int
    pcie_2_bytes: int
    pcie_4_bytes: int
    graphs_of_other_gpus: float
    gathered_share: float
    sleep_bytes: int


@cache
def at(outlook: Outlook) -> At:
    """The coefficients of an outlook."""
    number, outside = list(Outlook).index(outlook), coefficients()["non_torch"]
    return At(
        single_bytes=int(outside["single_gib"][number] * GIB),
        pipeline_bytes=int(outside["pipeline_gib"][number] * GIB),
        nvlink_bytes=int(outside["nvlink_gib"][number] * GIB),
        lean_nvlink_bytes=int(min(outside["nvlink_gib"][number], coefficients()["estimates"]["lean_links_gib"][number]) * GIB),
        pcie_2_bytes=int(outside["pcie_2_gib"][number] * GIB),
        pcie_4_bytes=int(outside["pcie_4_gib"][number] * GIB),
        graphs_of_other_gpus=coefficients()["estimates"]["graphs_of_other_gpus"][number],
        gathered_share=coefficients()["estimates"]["gathered_share"][number],
        sleep_bytes=int(coefficients()["estimates"]["sleep_gib"][number] * GIB),
    )
