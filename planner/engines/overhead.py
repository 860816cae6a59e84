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

from planner.config import ServeConfig
from planner.engines.versions import VERSIONS
from planner.engines.vllm import capture_sizes
from planner.hardware import GpuGroup
from planner.model import ModelSpec
from planner.units import GIB


class Outlook(StrEnum):
    """Which coefficients: the fit, its cautious end or its hopeful end."""

    EXPECTED = "expected"
    CAUTIOUS = "cautious"
    HOPEFUL = "hopeful"


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
    loaded: dict[str, Any] = json.loads(files("planner.engines").joinpath("overhead.json").read_text("utf-8"))
    return loaded


def _shift(outlook: Outlook, residual_gib: float) -> int:
    sign = {Outlook.EXPECTED: 0, Outlook.CAUTIOUS: 1, Outlook.HOPEFUL: -1}[outlook]
    return int(sign * residual_gib * GIB)


def forward_activation(model: ModelSpec, config: ServeConfig) -> int:
    """Peak of one dense layer on one batch: gate, up and their product on a rank, and four hidden states. Derived from shapes."""
    width = 0 if model.experts_per_token else 3 * model.intermediate_size // config.tensor_parallel_size
    return config.max_num_batched_tokens * (width + 4 * model.hidden_size) * 2


def is_fitted(group: GpuGroup) -> bool:
    """Whether the coefficients were fitted on starts of this very card."""
    return group.gpu.name == str(coefficients()["fit"]["gpu"])


def sampler_copies(config: ServeConfig, group: GpuGroup, outlook: Outlook) -> float:
    """Live copies of the logits at the peak. On other cards than the fit's some starts took as many as versions before 0.17 did."""
    wary = outlook is Outlook.CAUTIOUS and not is_fitted(group) and group.gpu.calibrated_shift_bytes is None
    lean = VERSIONS[config.vllm_version].lean_sampler and not wary
    return float(coefficients()["activation"]["sampler_copies"] if lean else coefficients()["estimates"]["sampler_copies_at_most"])


def sampler_activation(model: ModelSpec, config: ServeConfig, copies: float) -> int:
    """Peak of the sampler's warm-up: several copies of the logits of one row a sequence, and the batch's hidden states. Fitted."""
    fit = coefficients()["activation"]
    rows = 0 if model.pooling else min(config.max_num_seqs, config.max_num_batched_tokens)
    logits = copies * model.vocab_size * rows * 4
    return int(logits + fit["hidden_copies"] * config.max_num_batched_tokens * model.hidden_size * 2)


def expert_workspace(model: ModelSpec, config: ServeConfig) -> int:
    """What the routed experts keep for a batch; it stays while the sampler runs. Fitted."""
    if not model.experts_per_token:
        return 0
    routed = config.max_num_batched_tokens * model.experts_per_token * max(model.expert_intermediate, model.hidden_size) * 2
    return int(coefficients()["activation"]["expert_copies"] * routed)


def stream_activation(model: ModelSpec, config: ServeConfig) -> int:
    """Peak of a model with several residual streams: many copies of them. From two starts of DeepSeek V4 that differ in the batch only."""
    if model.residual_streams == 1:
        return 0
    streams = config.max_num_batched_tokens * model.hidden_size * model.residual_streams * 2
    return int(coefficients()["estimates"]["stream_copies"] * streams)


def text_activation(model: ModelSpec, config: ServeConfig, copies: float, *, last_stage: bool) -> int:
    """Peak of the text profiling run: a batch through the layers, then (on the last stage) the sampler; the larger counts."""
    forward = max(forward_activation(model, config), stream_activation(model, config))
    peak = max(forward, sampler_activation(model, config, copies)) + expert_workspace(model, config)
    return int(peak if last_stage else coefficients()["activation"]["first_stage_share"] * peak)


def vision_activation(model: ModelSpec, config: ServeConfig) -> int:
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


def activation(model: ModelSpec, config: ServeConfig, group: GpuGroup, outlook: Outlook, *, last_stage: bool) -> int:
    """Peak activation: text and vision are profiled one after the other, so the larger one counts."""
    data = coefficients()
    copies = sampler_copies(config, group, outlook)
    text = text_activation(model, config, copies, last_stage=last_stage) + _shift(outlook, data["activation"]["residual_gib_p90"])
    factor = {Outlook.EXPECTED: 1.0, Outlook.CAUTIOUS: data["estimates"]["cautious_factor"], Outlook.HOPEFUL: data["estimates"]["hopeful_factor"]}[outlook]
    text += int((factor - 1) * stream_activation(model, config))
    return max(0, text, int(vision_activation(model, config) * factor))


def cuda_graphs(model: ModelSpec, config: ServeConfig, group: GpuGroup, outlook: Outlook) -> int:
    """Memory of the captured graphs, by layers of a stage and number of captured sizes; none in eager mode."""
    limit = config.max_cudagraph_capture_size
    if config.enforce_eager or limit == 0:
        return 0
    fit = coefficients()["cuda_graph"]
    layers = model.layer_count / config.pipeline_parallel_size
    full = fit["base_gib"] + fit["per_layer_gib"] * layers + (fit["experts_gib"] if model.experts_per_token else 0)
    sizes = capture_sizes(config.max_num_seqs, group.gpu.capability, VERSIONS[config.vllm_version])
    share = sum(1 for size in sizes if limit is None or size <= limit) / fit["full_set_sizes"]
    if not is_fitted(group):
        factors = dict(zip(Outlook, coefficients()["estimates"]["graphs_of_other_gpus"], strict=True))
        return int(full * factors[outlook] * share * GIB)
    return max(0, int(full * share * GIB) + int(_shift(outlook, fit["residual_gib_p90"]) * min(1.0, share)))


def non_torch(config: ServeConfig, group: GpuGroup, outlook: Outlook) -> int:
    """Memory outside torch's allocator that grows during profiling: kernels' workspaces, communication buffers."""
    fit = coefficients()["non_torch"]
    tp = config.tensor_parallel_size
    if tp == 1:
        key = "single_gib" if config.pipeline_parallel_size == 1 else "pipeline_gib"
    elif group.gpu.nvlink:
        key = "nvlink_gib"
    else:
        key = "pcie_2_gib" if tp == 2 else "pcie_4_gib"
    values = dict(zip(Outlook, fit[key], strict=True))
    margin = 0 if is_fitted(group) else _shift(outlook, coefficients()["estimates"]["unmeasured_gpu_margin_gib"])
    if group.gpu.calibrated_shift_bytes is not None:  # a start on this very machine tells more than the margin
        margin = group.gpu.calibrated_shift_bytes
    return max(0, int(values[outlook] * GIB) + margin)


def overhead(model: ModelSpec, config: ServeConfig, group: GpuGroup, outlook: Outlook, *, last_stage: bool = True) -> Overhead:
    """Everything beside weights, buffers and KV cache on one rank; graphs only where this version reserves them."""
    reserved = VERSIONS[config.vllm_version].graphs_reserved
    peak, graphs = activation(model, config, group, outlook, last_stage=last_stage), cuda_graphs(model, config, group, outlook)
    return Overhead(
        activation_bytes=peak,
        non_torch_bytes=non_torch(config, group, outlook),
        cuda_graph_bytes=graphs if reserved else 0,
        late_graph_bytes=0 if reserved else max(0, graphs - peak),  # captured last, where the activations of profiling were
    )
