"""What vLLM takes beside weights and KV cache: activations, CUDA graphs, memory outside torch. Calibrated, with intervals.

Causes, not constants: the sampler's logits (vocabulary x sequences in 32 bits, several live copies), hidden states of one batch,
expert workspaces, the vision tower's profiling batch (v1/worker/gpu/model_runner.py:1022). Coefficients: overhead.json.
"""

from __future__ import annotations

import json
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Generic, TypedDict

from planner.arrays import Whole, maximum, minimum, where, whole
from planner.engines.vllm.ledger_settings import LedgerSettings
from planner.engines.vllm.rules import capture_sizes
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.versions import VERSIONS
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass
from planner.units import GIB


class Outlook(StrEnum):
    """Which coefficients: the fit, its conservative end or its optimistic end."""

    EXPECTED = "expected"
    CONSERVATIVE = "conservative"
    OPTIMISTIC = "optimistic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead(Generic[Whole]):
    """Bytes of one rank beside weights, buffers and KV cache."""

    activation_bytes: Whole
    non_torch_bytes: Whole
    cuda_graph_bytes: Whole
    late_graph_bytes: Whole


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
    conservative_factor: float
    optimistic_factor: float
    unmeasured_gpu_margin_gib: float
    sampler_copies_at_most: float
    graphs_of_other_gpus: list[float]  # by outlook in their order


class Coefficients(TypedDict):
    """overhead.json; what each is and where it is from, the file says."""

    fit: _Fit
    activation: _Activation
    cuda_graph: _CudaGraph
    non_torch: _NonTorch
    estimates: _Estimates


@cache
def coefficients() -> Coefficients:
    """The calibrated coefficients."""
    loaded: Coefficients = json.loads(Path(__file__).with_name("overhead.json").read_text("utf-8"))
    return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(Generic[Whole]):
    """What the ledger asks of a GPU when a server starts there, in bytes."""

    total_bytes: Whole
    least_total_bytes: Whole  # and the most: other figures where nobody measured the total
    most_total_bytes: Whole
    usually_free_bytes: Whole
    surely_free_bytes: Whole
    most_free_bytes: Whole
    fitted: Whole  # whether the coefficients were fitted on starts of this very card
    nvlink: Whole  # whether there is one
    graph_sizes: Whole  # batch sizes that are captured
    shift_bytes: int | None = None  # by how much more than predicted a server on this machine took

    def total(self, outlook: Outlook) -> Whole:
        """What CUDA reports as the total, in bytes."""
        return {Outlook.EXPECTED: self.total_bytes, Outlook.CONSERVATIVE: self.least_total_bytes, Outlook.OPTIMISTIC: self.most_total_bytes}[outlook]

    def free(self, outlook: Outlook) -> Whole:
        """What of it is free at start, in bytes."""
        return {Outlook.EXPECTED: self.usually_free_bytes, Outlook.CONSERVATIVE: self.surely_free_bytes, Outlook.OPTIMISTIC: self.most_free_bytes}[outlook]


def device(group: GpuGroup, config: ServeConfig) -> Device:
    """What the ledger asks of one GPU of a group."""
    limit = config.max_cudagraph_capture_size
    sizes = capture_sizes(config.max_num_seqs, group.gpu.capability, VERSIONS[config.vllm_version])
    least_total, most_total = group.total_bounds
    less_free, more_free = group.free_error
    usually_free = group.free_at_start_bytes(config.tensor_parallel_size, conservative=False)
    return Device(
        total_bytes=group.total_bytes,
        least_total_bytes=least_total,
        most_total_bytes=most_total,
        usually_free_bytes=usually_free,
        surely_free_bytes=group.free_at_start_bytes(config.tensor_parallel_size) - less_free,
        most_free_bytes=usually_free + more_free,
        fitted=group.gpu.name == coefficients()["fit"]["gpu"],
        nvlink=group.gpu.nvlink,
        graph_sizes=sum(1 for size in sizes if limit is None or size <= limit),
        shift_bytes=group.gpu.calibrated_shift_bytes,
    )


@dataclass(frozen=True, slots=True)
class _At:
    """Those coefficients that are given for each outlook: bytes outside torch, and the share of graphs on other cards than the fit's."""

    single_bytes: int
    pipeline_bytes: int
    nvlink_bytes: int
    pcie_2_bytes: int
    pcie_4_bytes: int
    graphs_of_other_gpus: float


@cache
def _at(outlook: Outlook) -> _At:
    number, outside = list(Outlook).index(outlook), coefficients()["non_torch"]
    return _At(
        single_bytes=int(outside["single_gib"][number] * GIB),
        pipeline_bytes=int(outside["pipeline_gib"][number] * GIB),
        nvlink_bytes=int(outside["nvlink_gib"][number] * GIB),
        pcie_2_bytes=int(outside["pcie_2_gib"][number] * GIB),
        pcie_4_bytes=int(outside["pcie_4_gib"][number] * GIB),
        graphs_of_other_gpus=coefficients()["estimates"]["graphs_of_other_gpus"][number],
    )


def _shift(outlook: Outlook, residual_gib: float) -> int:
    sign = {Outlook.EXPECTED: 0, Outlook.CONSERVATIVE: 1, Outlook.OPTIMISTIC: -1}[outlook]
    return int(sign * residual_gib * GIB)


def forward_activation(model: ModelSpec, config: LedgerSettings[Whole]) -> Whole:
    """Peak of one dense layer on one batch: gate, up and their product on a rank, and four hidden states. Derived from shapes."""
    width = 0 if model.experts_per_token else 3 * model.intermediate_size // config.tensor_parallel_size
    return config.max_num_batched_tokens * (width + 4 * model.hidden_size) * 2


def sampler_copies(config: LedgerSettings[Whole], on: Device[Whole], outlook: Outlook) -> Whole | float:
    """Live copies of the logits at the peak. On other cards than the fit's some starts took as many as versions before 0.17 did."""
    few, many = coefficients()["activation"]["sampler_copies"], coefficients()["estimates"]["sampler_copies_at_most"]
    if not VERSIONS[config.vllm_version].lean_sampler:
        return many
    wary = outlook is Outlook.CONSERVATIVE and on.shift_bytes is None
    return where(on.fitted, few, many) if wary else few


def sampler_activation(model: ModelSpec, config: LedgerSettings[Whole], copies: Whole | float) -> Whole:
    """Peak of the sampler's warm-up: several copies of the logits of one row a sequence, and the batch's hidden states. Fitted."""
    fit = coefficients()["activation"]
    rows = 0 if model.pooling else minimum(config.max_num_seqs, config.max_num_batched_tokens)
    logits = copies * model.vocab_size * rows * 4
    return whole(logits + fit["hidden_copies"] * config.max_num_batched_tokens * model.hidden_size * 2)


def expert_workspace(model: ModelSpec, config: LedgerSettings[Whole]) -> Whole | int:
    """What the routed experts keep for a batch; it stays while the sampler runs. Fitted."""
    if not model.experts_per_token:
        return 0
    routed = config.max_num_batched_tokens * model.experts_per_token * max(model.expert_intermediate, model.hidden_size) * 2
    return whole(coefficients()["activation"]["expert_copies"] * routed)


def stream_activation(model: ModelSpec, config: LedgerSettings[Whole]) -> Whole | int:
    """Peak of a model with several residual streams: many copies of them. From two starts of DeepSeek V4 that differ in the batch only."""
    if model.residual_streams == 1:
        return 0
    streams = config.max_num_batched_tokens * model.hidden_size * model.residual_streams * 2
    return whole(coefficients()["estimates"]["stream_copies"] * streams)


def text_activation(model: ModelSpec, config: LedgerSettings[Whole], copies: Whole | float, *, last_stage: Whole | bool) -> Whole:
    """Peak of the text profiling run: a batch through the layers, then (on the last stage) the sampler; the larger counts."""
    forward = maximum(forward_activation(model, config), stream_activation(model, config))
    peak = maximum(forward, sampler_activation(model, config, copies)) + expert_workspace(model, config)
    return where(last_stage, peak, whole(coefficients()["activation"]["first_stage_share"] * peak))


def vision_activation(model: ModelSpec, config: LedgerSettings[Whole]) -> Whole | int:
    """Peak of the vision tower on one item at its largest resolution, from shapes.

    One block holds its MLP and qkv outputs (divided over tensor-parallel ranks), two hidden states, and the projected embeddings wait.
    """
    vision = model.vision
    if vision is None or config.skip_mm_profiling:
        return 0
    split = (vision.intermediate_size + 3 * vision.hidden_size) // config.tensor_parallel_size
    block = vision.max_patches * (split + 2 * vision.hidden_size) * 2
    outputs = vision.tokens_per_item * model.hidden_size * (1 + vision.extra_outputs) * 2
    return block + outputs


def activation(model: ModelSpec, config: LedgerSettings[Whole], on: Device[Whole], outlook: Outlook, *, last_stage: Whole | bool) -> Whole:
    """Peak activation: text and vision are profiled one after the other, so the larger one counts."""
    data = coefficients()
    copies = sampler_copies(config, on, outlook)
    text = text_activation(model, config, copies, last_stage=last_stage) + _shift(outlook, data["activation"]["residual_gib_p90"])
    factor = {
        Outlook.EXPECTED: 1.0,
        Outlook.CONSERVATIVE: data["estimates"]["conservative_factor"],
        Outlook.OPTIMISTIC: data["estimates"]["optimistic_factor"],
    }[outlook]
    text += whole((factor - 1) * stream_activation(model, config))
    return maximum(maximum(0, text), whole(vision_activation(model, config) * factor))


def cuda_graphs(model: ModelSpec, config: LedgerSettings[Whole], on: Device[Whole], outlook: Outlook) -> Whole | int:
    """Memory of the captured graphs, by layers of a stage and number of captured sizes; none in eager mode."""
    if config.enforce_eager or config.max_cudagraph_capture_size == 0:
        return 0
    fit = coefficients()["cuda_graph"]
    layers = model.layer_count / config.pipeline_parallel_size
    full = fit["base_gib"] + fit["per_layer_gib"] * layers + (fit["experts_gib"] if model.experts_per_token else 0)
    share = on.graph_sizes / fit["full_set_sizes"]
    elsewhere = whole(full * _at(outlook).graphs_of_other_gpus * share * GIB)
    measured = maximum(0, whole(full * share * GIB) + whole(_shift(outlook, fit["residual_gib_p90"]) * minimum(1.0, share)))
    return where(on.fitted, measured, elsewhere)


def non_torch(config: LedgerSettings[Whole], on: Device[Whole], outlook: Outlook) -> Whole:
    """Memory outside torch's allocator that grows during profiling: kernels' workspaces, communication buffers."""
    fit = _at(outlook)
    tp, pp = config.tensor_parallel_size, config.pipeline_parallel_size
    single = where(pp == 1, fit.single_bytes, fit.pipeline_bytes)
    several = where(on.nvlink, fit.nvlink_bytes, where(tp == 2, fit.pcie_2_bytes, fit.pcie_4_bytes))
    used: Whole = where(tp == 1, single, several)
    if on.shift_bytes is not None:  # a start on this very machine tells more than the margin
        return maximum(0, used + on.shift_bytes)
    return maximum(0, used + where(on.fitted, 0, _shift(outlook, coefficients()["estimates"]["unmeasured_gpu_margin_gib"])))


def overhead(model: ModelSpec, config: LedgerSettings[Whole], on: Device[Whole], outlook: Outlook, *, last_stage: Whole | bool = True) -> Overhead[Whole]:
    """Everything beside weights, buffers and KV cache on one rank; graphs only where this version reserves them."""
    reserved = VERSIONS[config.vllm_version].graphs_reserved
    peak = activation(model, config, on, outlook, last_stage=last_stage)
    none = 0 * peak
    graphs = cuda_graphs(model, config, on, outlook) + none
    return Overhead(
        activation_bytes=peak,
        non_torch_bytes=non_torch(config, on, outlook),
        cuda_graph_bytes=graphs if reserved else none,
        late_graph_bytes=none if reserved else maximum(0, graphs - peak),  # captured last, where the activations of profiling were
    )
