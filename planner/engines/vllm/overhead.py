"""What vLLM takes beside weights and KV cache: activations, CUDA graphs, memory outside torch. Calibrated, with intervals.

Causes, not constants: the sampler's logits (vocabulary x sequences in 32 bits, several live copies), hidden states of one batch,
expert workspaces, the vision tower's profiling batch (v1/worker/gpu/model_runner.py:1022). Coefficients: overhead.json.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from planner.arrays import maximum, minimum, where, whole
from planner.engines.vllm.rules import capture_sizes
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.versions import VERSIONS
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec
from planner.units import GIB


class Outlook(StrEnum):
    """Which coefficients: the fit, its conservative end or its optimistic end."""

    EXPECTED = "expected"
    CONSERVATIVE = "conservative"
    OPTIMISTIC = "optimistic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Bytes of one rank beside weights, buffers and KV cache."""

    activation_bytes: int
    non_torch_bytes: int
    cuda_graph_bytes: int
    late_graph_bytes: int


@cache
def coefficients() -> dict[str, Any]:
    """The calibrated coefficients."""
    loaded: dict[str, Any] = json.loads(files("planner.engines.vllm").joinpath("overhead.json").read_text("utf-8"))
    return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What the ledger asks of a GPU when a server starts there, in bytes; in a grid every value may be an array, one element a server."""

    total_bytes: int
    usually_free_bytes: int
    surely_free_bytes: int
    fitted: bool  # the coefficients were fitted on starts of this very card
    nvlink: bool
    graph_sizes: int  # batch sizes that are captured
    shift_bytes: int | None = None  # by how much more than predicted a server on this machine took


def device(group: GpuGroup, config: ServeConfig) -> Device:
    """What the ledger asks of one GPU of a group."""
    limit = config.max_cudagraph_capture_size
    sizes = capture_sizes(config.max_num_seqs, group.gpu.capability, VERSIONS[config.vllm_version])
    return Device(
        total_bytes=group.total_bytes,
        usually_free_bytes=group.free_at_start_bytes(config.tensor_parallel_size, conservative=False),
        surely_free_bytes=group.free_at_start_bytes(config.tensor_parallel_size),
        fitted=group.gpu.name == str(coefficients()["fit"]["gpu"]),
        nvlink=group.gpu.nvlink,
        graph_sizes=sum(1 for size in sizes if limit is None or size <= limit),
        shift_bytes=group.gpu.calibrated_shift_bytes,
    )


@cache
def _at(outlook: Outlook) -> dict[str, Any]:
    """Those coefficients that are given for each outlook: bytes outside torch, and the share of graphs on other cards than the fit's."""
    number = list(Outlook).index(outlook)
    outside = {key: int(values[number] * GIB) for key, values in coefficients()["non_torch"].items()}
    return {"non_torch": outside, "graphs_of_other_gpus": coefficients()["estimates"]["graphs_of_other_gpus"][number]}


def _shift(outlook: Outlook, residual_gib: float) -> int:
    sign = {Outlook.EXPECTED: 0, Outlook.CONSERVATIVE: 1, Outlook.OPTIMISTIC: -1}[outlook]
    return int(sign * residual_gib * GIB)


def forward_activation(model: ModelSpec, config: ServeConfig) -> int:
    """Peak of one dense layer on one batch: gate, up and their product on a rank, and four hidden states. Derived from shapes."""
    width = 0 if model.experts_per_token else 3 * model.intermediate_size // config.tensor_parallel_size
    return config.max_num_batched_tokens * (width + 4 * model.hidden_size) * 2


def sampler_copies(config: ServeConfig, on: Device, outlook: Outlook) -> Any:
    """Live copies of the logits at the peak. On other cards than the fit's some starts took as many as versions before 0.17 did."""
    few, many = float(coefficients()["activation"]["sampler_copies"]), float(coefficients()["estimates"]["sampler_copies_at_most"])
    if not VERSIONS[config.vllm_version].lean_sampler:
        return many
    wary = outlook is Outlook.CONSERVATIVE and on.shift_bytes is None
    return where(on.fitted, few, many) if wary else few


def sampler_activation(model: ModelSpec, config: ServeConfig, copies: Any) -> Any:
    """Peak of the sampler's warm-up: several copies of the logits of one row a sequence, and the batch's hidden states. Fitted."""
    fit = coefficients()["activation"]
    rows = 0 if model.pooling else minimum(config.max_num_seqs, config.max_num_batched_tokens)
    logits = copies * model.vocab_size * rows * 4
    return whole(logits + fit["hidden_copies"] * config.max_num_batched_tokens * model.hidden_size * 2)


def expert_workspace(model: ModelSpec, config: ServeConfig) -> Any:
    """What the routed experts keep for a batch; it stays while the sampler runs. Fitted."""
    if not model.experts_per_token:
        return 0
    routed = config.max_num_batched_tokens * model.experts_per_token * max(model.expert_intermediate, model.hidden_size) * 2
    return whole(coefficients()["activation"]["expert_copies"] * routed)


def stream_activation(model: ModelSpec, config: ServeConfig) -> Any:
    """Peak of a model with several residual streams: many copies of them. From two starts of DeepSeek V4 that differ in the batch only."""
    if model.residual_streams == 1:
        return 0
    streams = config.max_num_batched_tokens * model.hidden_size * model.residual_streams * 2
    return whole(coefficients()["estimates"]["stream_copies"] * streams)


def text_activation(model: ModelSpec, config: ServeConfig, copies: Any, *, last_stage: Any) -> Any:
    """Peak of the text profiling run: a batch through the layers, then (on the last stage) the sampler; the larger counts."""
    forward = maximum(forward_activation(model, config), stream_activation(model, config))
    peak = maximum(forward, sampler_activation(model, config, copies)) + expert_workspace(model, config)
    return where(last_stage, peak, whole(coefficients()["activation"]["first_stage_share"] * peak))


def vision_activation(model: ModelSpec, config: ServeConfig) -> Any:
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


def activation(model: ModelSpec, config: ServeConfig, on: Device, outlook: Outlook, *, last_stage: Any) -> Any:
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


def cuda_graphs(model: ModelSpec, config: ServeConfig, on: Device, outlook: Outlook) -> Any:
    """Memory of the captured graphs, by layers of a stage and number of captured sizes; none in eager mode."""
    if config.enforce_eager or config.max_cudagraph_capture_size == 0:
        return 0
    fit = coefficients()["cuda_graph"]
    layers = model.layer_count / config.pipeline_parallel_size
    full = fit["base_gib"] + fit["per_layer_gib"] * layers + (fit["experts_gib"] if model.experts_per_token else 0)
    share = on.graph_sizes / fit["full_set_sizes"]
    elsewhere = whole(full * _at(outlook)["graphs_of_other_gpus"] * share * GIB)
    measured = maximum(0, whole(full * share * GIB) + whole(_shift(outlook, fit["residual_gib_p90"]) * minimum(1.0, share)))
    return where(on.fitted, measured, elsewhere)


def non_torch(config: ServeConfig, on: Device, outlook: Outlook) -> Any:
    """Memory outside torch's allocator that grows during profiling: kernels' workspaces, communication buffers."""
    fit = _at(outlook)["non_torch"]
    tp, pp = config.tensor_parallel_size, config.pipeline_parallel_size
    single = where(pp == 1, fit["single_gib"], fit["pipeline_gib"])
    several = where(on.nvlink, fit["nvlink_gib"], where(tp == 2, fit["pcie_2_gib"], fit["pcie_4_gib"]))
    margin = where(on.fitted, 0, _shift(outlook, coefficients()["estimates"]["unmeasured_gpu_margin_gib"]))
    if on.shift_bytes is not None:  # a start on this very machine tells more than the margin
        margin = on.shift_bytes
    return maximum(0, where(tp == 1, single, several) + margin)


def overhead(model: ModelSpec, config: ServeConfig, on: Device, outlook: Outlook, *, last_stage: Any = True) -> Overhead:
    """Everything beside weights, buffers and KV cache on one rank; graphs only where this version reserves them."""
    reserved = VERSIONS[config.vllm_version].graphs_reserved
    peak, graphs = activation(model, config, on, outlook, last_stage=last_stage), cuda_graphs(model, config, on, outlook)
    return Overhead(
        activation_bytes=peak,
        non_torch_bytes=non_torch(config, on, outlook),
        cuda_graph_bytes=graphs if reserved else 0,
        late_graph_bytes=0 if reserved else maximum(0, graphs - peak),  # captured last, where the activations of profiling were
    )
