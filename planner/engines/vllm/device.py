"""A GPU as the ledger asks of it: what it has and what is free at start, its class, what is captured on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from planner.arrays import Whole, where
from planner.engines.vllm import coefficients as calibrated
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.late import may_have_older_driver
from planner.engines.vllm.rules import capture_sizes
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.versions import VERSIONS, Version
from planner.facts.hardware import GpuGroup, GpuSpec, Host
from planner.facts.record import dataclass
from planner.units import GIB

if TYPE_CHECKING:
    from planner.engines.vllm.ledger_settings import LedgerSettings

_SMALL_BYTES, _WORKSTATION_BYTES = 20 * GIB, 36 * GIB  # below: 12 and 16 GB; 24 and 32 GB; from here on 48 GB and more


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(Generic[Whole]):
    """What the ledger asks of a GPU when a server starts there, in bytes."""

    total_bytes: Whole
    least_total_bytes: Whole  # and the most: other figures where nobody measured the total
    most_total_bytes: Whole
    usually_free_bytes: Whole
    surely_free_bytes: Whole
    most_free_bytes: Whole
    margin_bytes: Whole  # what starts on GPUs of its class took beside the causes, usually; the most and the least
    most_margin_bytes: Whole
    least_margin_bytes: Whole
    fitted: Whole  # whether the coefficients were fitted on starts of this very card
    nvlink: Whole  # whether there is one
    multicast: Whole  # whether its switches reduce (NVLS and symmetric memory: Hopper and later), which keeps buffers of its own
    graph_sizes: Whole  # batch sizes that are captured
    largest_graph: Whole  # of them, in tokens
    older_driver: Whole  # whether one from before CUDA 12.4 may drive it
    pages: Whole  # whether its driver moves memory to the host where it runs out, as Windows' does
    rocm: Whole
    fp8: Whole  # whether vLLM multiplies FP8 by FP8 on it, with CUDA (cutlass_fp8_supported)
    multiprocessors: Whole  # of a GPU whose driver keeps memory for each (12.x); 0 of others
    shift_bytes: int | None = None  # by how much more than predicted a server on this machine took

    def total(self, outlook: Outlook) -> Whole:
        """What CUDA reports as the total, in bytes."""
        return {Outlook.EXPECTED: self.total_bytes, Outlook.CONSERVATIVE: self.least_total_bytes, Outlook.OPTIMISTIC: self.most_total_bytes}[outlook]

    def free(self, outlook: Outlook) -> Whole:
        """What of it is free at start, in bytes."""
        return {Outlook.EXPECTED: self.usually_free_bytes, Outlook.CONSERVATIVE: self.surely_free_bytes, Outlook.OPTIMISTIC: self.most_free_bytes}[outlook]

    def margin(self, outlook: Outlook) -> Whole:
        """What its class takes beside the causes, in bytes."""
        return {Outlook.EXPECTED: self.margin_bytes, Outlook.CONSERVATIVE: self.most_margin_bytes, Outlook.OPTIMISTIC: self.least_margin_bytes}[outlook]


def sampler_copies(config: LedgerSettings[Whole], on: Device[Whole], outlook: Outlook) -> Whole | float:
    """Live copies of the logits at the peak. On other cards than the fit's some starts took as many as versions before 0.17 did."""
    few, many = calibrated.coefficients()["activation"]["sampler_copies"], calibrated.coefficients()["estimates"]["sampler_copies_at_most"]
    if not VERSIONS[config.vllm_version].lean_sampler:
        return many
    wary = outlook is Outlook.CONSERVATIVE and on.shift_bytes is None
    return where(on.fitted, few, many) if wary else few


def stream_share(on: Device[Whole], outlook: Outlook) -> Whole | float:
    """How much of those copies a GPU holds: fewer where the streams' kernels were written for it."""
    estimates, number = calibrated.coefficients()["estimates"], list(Outlook).index(outlook)
    elsewhere = (1.0, estimates["conservative_factor"], estimates["optimistic_factor"])[number]
    return where(on.multicast, estimates["fused_stream_share"][number], elsewhere)


def gpu_class(gpu: GpuSpec) -> str:
    """The class of GPUs whose starts tell of this one: by what its memory is and how much of it, the fit's card by itself."""
    if gpu.name == calibrated.coefficients()["fit"]["gpu"]:
        return "fit"
    if gpu.unified_memory:
        return "unified"
    if gpu.vendor == "amd":
        return "amd" if gpu.memory_type == "hbm" else "radeon"
    if gpu.memory_type == "hbm":
        return "data_centre"
    return "small" if gpu.memory_bytes < _SMALL_BYTES else "consumer" if gpu.memory_bytes < _WORKSTATION_BYTES else "workstation"


def _margins(gpu: GpuSpec, tensor_parallel_size: int, version: Version) -> tuple[int, int, int]:
    """Expected, conservative and optimistic margin of a GPU's class, in bytes; the fit is of releases that sample as 0.19 does, older ones are less sure."""
    name = gpu_class(gpu)
    row = calibrated.coefficients()["classes"]["data_centre" if name == "fit" and not version.lean_sampler else name]
    expected, conservative, optimistic = row["single_gib"] if tensor_parallel_size == 1 else row["several_gib"]
    return int(expected * GIB), int(conservative * GIB), int(optimistic * GIB)


def _graph_sets(config: ServeConfig) -> int:
    if config.lora is None:
        return 1
    from planner.engines.vllm.lora import graph_sets

    return graph_sets(config.lora, config.vllm_version)


def device(group: GpuGroup, config: ServeConfig) -> Device:
    """What the ledger asks of one GPU of a group."""
    limit = config.max_cudagraph_capture_size
    known = capture_sizes(
        config.max_num_seqs,
        group.gpu.capability,
        VERSIONS[config.vllm_version],
        tokens=1 + config.num_speculative_tokens,
        fine=config.performance_mode == "interactivity",
    )
    sizes = [size for size in known if limit is None or size <= limit]
    least_total, most_total = group.total_bounds
    less_free, more_free = group.free_error
    usually_free = group.free_at_start_bytes(config.ranks, conservative=False)
    margin, most_margin, least_margin = _margins(group.gpu, config.ranks, VERSIONS[config.vllm_version])
    return Device(
        total_bytes=group.total_bytes,
        least_total_bytes=least_total,
        most_total_bytes=most_total,
        usually_free_bytes=usually_free,
        surely_free_bytes=0 if group.is_unmeasured else group.free_at_start_bytes(config.ranks) - less_free,  # no start there is sure
        most_free_bytes=usually_free + more_free + group.unseen_bytes,
        margin_bytes=margin,
        most_margin_bytes=most_margin + group.neighbours_bytes,
        least_margin_bytes=least_margin,
        fitted=group.gpu.name == calibrated.coefficients()["fit"]["gpu"],
        nvlink=group.gpu.nvlink,
        multicast=group.gpu.nvlink and group.gpu.capability >= 90,
        graph_sizes=len(sizes) * _graph_sets(config),
        largest_graph=max(sizes, default=0),
        older_driver=may_have_older_driver(group.gpu),
        pages=group.host is Host.WSL2,
        rocm=group.gpu.vendor == "amd",
        fp8=group.gpu.vendor == "nvidia" and group.gpu.capability >= 89,
        multiprocessors=group.gpu.multiprocessors,
        shift_bytes=group.gpu.calibrated_shift_bytes,
    )
