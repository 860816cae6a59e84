"""What vLLM takes beside weights and KV cache: activations, CUDA graphs, memory outside torch. Calibrated, with intervals.

Causes, not constants: the sampler's logits (vocabulary x sequences in 32 bits, several live copies), hidden states of one batch,
expert workspaces, the vision tower's profiling batch (v1/worker/gpu/model_runner.py:1022). Coefficients: overhead.json.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Generic

from planner.arrays import Whole, maximum, minimum, where, whole
from planner.engines.vllm import coefficients as calibrated
from planner.engines.vllm.coefficients import Outlook, at
from planner.engines.vllm.device import Device, sampler_copies, stream_share
from planner.engines.vllm.kept import attention_workspace, counted_with_graphs, delta_kernels, expert_tensors, kept_segments, marlin_workspace
from planner.engines.vllm.late import late_graphs, overestimated_graphs, reserves_graphs, warm_up
from planner.engines.vllm.versions import VERSIONS
from planner.facts.model import ModelSpec, VisionSpec
from planner.facts.record import dataclass
from planner.units import GIB

if TYPE_CHECKING:
    from planner.engines.vllm.ledger_settings import LedgerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead(Generic[Whole]):
    """Bytes of one rank beside weights, buffers and KV cache."""

    activation_bytes: Whole
    non_torch_bytes: Whole
    cuda_graph_bytes: Whole
    late_bytes: Whole
    """What is taken once the KV cache is sized."""


def _shift(outlook: Outlook, residual_gib: float) -> int:
    sign = {Outlook.EXPECTED: 0, Outlook.CONSERVATIVE: 1, Outlook.OPTIMISTIC: -1}[outlook]
    return int(sign * residual_gib * GIB)


def forward_activation(model: ModelSpec, config: LedgerSettings[Whole], *, narrow: bool = False) -> Whole:
    """Peak of one dense layer on one batch: gate, up and their product on a rank, and four hidden states. Derived from shapes.

    The product takes a byte where it is `narrow`: Inductor makes one kernel of it and of its quantization to FP8, and writes no 16 bits. vLLM leaves that
    to it but for scales of blocks, which a kernel of its own makes (quantization/input_quant_fp8.py forward_native, config/vllm.py has_blocked_weights).

    A layer of the gated delta rule holds what it projects, what comes of it, z again and their norm, with ranks that sum the result a fifth hidden
    state (layers/mamba/gdn_linear_attn.py forward_cuda, _output_projection): more than that where the MLPs are experts.
    """
    ranks, (projected, values) = config.tensor_parallel_size, model.delta_columns
    width = 0 if model.experts_per_token else (5 if narrow else 6) * model.intermediate_size // (2 * ranks)
    if projected:
        width = maximum(width, (projected + 3 * values) // ranks + where(ranks == 1, 0, model.hidden_size))
    return config.max_num_batched_tokens * (width + 4 * model.hidden_size) * 2


def sampler_activation(model: ModelSpec, config: LedgerSettings[Whole], copies: Whole | float) -> Whole:
    """Peak of the sampler's warm-up: several copies of the logits of one row a sequence, and the batch's hidden states. Fitted. A drafter makes logits too."""
    fit = calibrated.coefficients()["activation"]
    rows = 0 if model.pooling else minimum(config.max_num_seqs, config.max_num_batched_tokens)
    logits = (copies * model.vocab_size + (model.drafter.model.vocab_size if model.drafter and model.drafter.model else 0)) * rows * 4
    return whole(logits + fit["hidden_copies"] * config.max_num_batched_tokens * model.hidden_size * 2)


def expert_workspace(model: ModelSpec, config: LedgerSettings[Whole]) -> Whole | int:
    """What the routed experts keep for a batch; it stays while the sampler runs. Fitted."""
    if not model.experts_per_token:
        return 0
    routed = config.max_num_batched_tokens * model.experts_per_token * max(model.expert_intermediate, model.hidden_size) * 2
    return whole(calibrated.coefficients()["activation"]["expert_copies"] * routed)


def gathered_workspace(model: ModelSpec, config: LedgerSettings[Whole], outlook: Outlook) -> Whole | int:
    """What the experts keep beside that for the batches of other engines: each rank gathers the tokens of all. Derived, seldom seen."""
    if config.data_parallel_size == 1:
        return 0
    return whole(at(outlook).gathered_share * (config.data_parallel_size - 1) * expert_workspace(model, config))


def stream_activation(model: ModelSpec, config: LedgerSettings[Whole]) -> Whole | int:
    """Peak of a model with several residual streams: many copies of them. From two starts of DeepSeek V4 that differ in the batch only."""
    if model.residual_streams == 1:
        return 0
    streams = config.max_num_batched_tokens * model.hidden_size * model.residual_streams * 2
    return whole(calibrated.coefficients()["estimates"]["stream_copies"] * streams)


def text_activation(
    shapes: Shapes[Whole],
    copies: Whole | float,
    *,
    last_stage: Whole | bool,
    streams: Whole | float = 1.0,
    fp8: Whole | bool = False,
    marlin: Whole | bool = False,
) -> Whole:
    """Peak of the text profiling run: a batch through the layers, then (on the last stage) the sampler; the larger counts.

    `streams` is how much of the residual streams' copies the GPU holds, `fp8` whether it multiplies in that, `marlin` whether Marlin's kernels run there.
    """
    experts, kept = expert_tensors(shapes, marlin=marlin)
    layer = where(fp8, shapes.narrow, shapes.forward)
    forward = maximum(layer, whole(streams * shapes.streams)) + experts + shapes.adapters
    peak = maximum(forward, sampler_activation(shapes.model, shapes.config, copies) + kept)
    first = maximum(whole(calibrated.coefficients()["activation"]["first_stage_share"] * peak), shapes.gathered_keys)
    return where(last_stage, peak, first)


def _indexer_work(model: ModelSpec, config: LedgerSettings[Whole]) -> tuple[Whole | int, int]:
    """Keys that a sparse indexer gathers, and its logits of a prompt."""
    if model.indexed is None:
        return 0, 0
    from planner.engines.vllm.indexer import gathered_keys, prompt_logits

    return gathered_keys(model, config), prompt_logits(model, config)


def _captured_logits(model: ModelSpec, config: LedgerSettings[Whole], largest_graph: Whole, outlook: Outlook) -> Whole | int:
    """Logits of a sparse indexer in the graphs."""
    if model.indexed is None:
        return 0
    from planner.engines.vllm.indexer import decode_logits

    return decode_logits(model, config, largest_graph, outlook)


def _adapter_activation(model: ModelSpec, config: LedgerSettings[Whole]) -> Whole | int:
    if config.lora is None:
        return 0
    from planner.engines.vllm.lora import activation_bytes

    return activation_bytes(model, config)


def pictures_in_a_film(vision: VisionSpec, config: LedgerSettings[Whole]) -> Whole | int:
    """How many pictures the largest item is as large as: a film of as many frames as the context holds (qwen2_vl.py get_num_frames_with_most_features)."""
    if vision.film_slices < 2:
        return 1
    return maximum(1, minimum(vision.film_slices, config.max_model_len // max(1, vision.tokens_per_item)))


def profiled_items(vision: VisionSpec, config: LedgerSettings[Whole]) -> Whole:
    """Items of the largest kind that are profiled at once: what a batch of tokens holds, at most what the sequences may bring.

    Source: multimodal/encoder_budget.py MultiModalBudget._get_max_items, v1/core/encoder_cache_manager.py compute_mm_encoder_budget.
    """
    size = max(1, vision.tokens_per_item) * pictures_in_a_film(vision, config)
    held = config.max_model_len // size
    in_a_prompt = maximum(minimum(held, vision.items_in_a_prompt) if vision.items_in_a_prompt else held, 1)
    return maximum(minimum(config.max_num_batched_tokens // size, config.max_num_seqs * in_a_prompt), 1)


def vision_outputs(model: ModelSpec, config: LedgerSettings[Whole]) -> Whole | int:
    """Embeddings of the profiled items: they wait while the text model is profiled (v1/worker/gpu_model_runner.py profile_run)."""
    vision = model.vision
    if vision is None or config.skip_mm_profiling:
        return 0
    row, tokens = model.hidden_size * (1 + vision.extra_outputs) * 2, vision.tokens_per_item * pictures_in_a_film(vision, config)
    if VERSIONS[config.vllm_version].outputs_padded:
        tokens = maximum(maximum(tokens, vision.counted_tokens), config.max_num_batched_tokens)
    return row * tokens * profiled_items(vision, config)


def vision_activation(model: ModelSpec, config: LedgerSettings[Whole]) -> Whole | int:
    """Peak of the vision tower on the profiled items at their largest resolution, from shapes.

    Where nobody counted what a layer holds (architecture/towers/held.py): MLP and qkv outputs (divided over tensor-parallel ranks), two hidden states.
    """
    vision = model.vision
    if vision is None or config.skip_mm_profiling:
        return 0
    peaks = vision.peaks or ((2 * vision.hidden_size, vision.intermediate_size + 3 * vision.hidden_size),)
    columns: Whole = 0 * config.tensor_parallel_size
    for every, divided in peaks:
        columns = maximum(columns, every + divided // config.tensor_parallel_size)
    return vision.max_patches * columns * 2 * pictures_in_a_film(vision, config) * profiled_items(vision, config)


@dataclass(frozen=True)
class Shapes(Generic[Whole]):
    """What follows of a model and its settings whatever the outlook and the stage, worked out once for all of them."""

    model: ModelSpec
    config: LedgerSettings[Whole]

    @cached_property
    def _indexer(self) -> tuple[Whole | int, int]:
        return _indexer_work(self.model, self.config)

    @property
    def gathered_keys(self) -> Whole | int:
        """Keys that a sparse indexer gathers."""
        return self._indexer[0]

    @cached_property
    def streams(self) -> Whole | int:
        """Peak of several residual streams."""
        return stream_activation(self.model, self.config)

    @cached_property
    def forward(self) -> Whole:
        """Peak of a batch through the layers, beside the experts' workspace, where no residual streams take more."""
        return forward_activation(self.model, self.config) + self._indexer[1]

    @cached_property
    def narrow(self) -> Whole:
        """The same on a GPU that multiplies in FP8: less where the model does and is compiled."""
        config = self.config
        if not self.model.narrows_products or config.enforce_eager or not config.times_kernels:
            return self.forward
        return forward_activation(self.model, config, narrow=True) + self._indexer[1]

    @cached_property
    def adapters(self) -> Whole | int:
        """What adapters take beside it."""
        return _adapter_activation(self.model, self.config)

    @cached_property
    def workspace(self) -> Whole | int:
        """The one workspace of routed experts and a sparse indexer."""
        return maximum(expert_workspace(self.model, self.config), self.gathered_keys)

    @cached_property
    def marlin(self) -> Whole | None:
        """What its experts work in where Marlin's kernels run them by themselves."""
        return marlin_workspace(self.model, self.config)

    @cached_property
    def outputs(self) -> Whole | int:
        """Embeddings of the profiled items of the vision tower."""
        return vision_outputs(self.model, self.config)

    @cached_property
    def tower(self) -> Whole | int:
        """Peak of the vision tower."""
        return vision_activation(self.model, self.config)


def benchmarked_embedding(model: ModelSpec, config: LedgerSettings[Whole], outlook: Outlook, *, last_stage: Whole | bool) -> Whole | int:
    """A second embedding, with what its kernel puts out: Inductor makes up every input of the kernels that it fuses side by side, to time them.

    While profiling, where nothing was compiled before; a cache of compiled kernels takes none. Of a model whose compiled part looks tokens up: with a
    tower they are looked up before it, and ranks sum what each looked up before anything else: starts of 70B-AWQ on two 4090, Qwen3-14B-AWQ on two L4
    and Qwen3.8-27B-AWQ on two 3090 took none. vllm/config/compilation.py benchmark_combo_kernel; torch/_inductor/codegen/triton_combo_kernel.py get_args.
    """
    outside = model.vision is not None or model.residual_streams > 1
    times = config.times_kernels and not config.enforce_eager and VERSIONS[config.vllm_version].times_fused_kernels
    if not times or outside or outlook is Outlook.OPTIMISTIC:
        return 0
    rows: Whole = model.vocab_size + 2 * config.max_num_batched_tokens
    again = rows * model.hidden_size * 2
    first = where(config.pipeline_parallel_size == 1, True, where(last_stage, False, True))
    return where(config.tensor_parallel_size == 1, where(first, again, 0 * again), 0 * again)


def activation(shapes: Shapes[Whole], on: Device[Whole], outlook: Outlook, *, last_stage: Whole | bool) -> Whole:
    """Peak activation: text and vision are profiled one after the other, so the larger one counts; what vision puts out lies beside the text's.

    It lies beside a tower's too where nobody counted what that one holds: such figures are small rather than large.
    """
    data, model, config = calibrated.coefficients(), shapes.model, shapes.config
    copies, streams = sampler_copies(config, on, outlook), stream_share(on, outlook)
    fp8, marlin = (False, False) if outlook is Outlook.CONSERVATIVE else (on.fp8, where(on.rocm, False, True))  # read in vLLM's source, not measured alone
    text = text_activation(shapes, copies, last_stage=last_stage, streams=streams, fp8=fp8, marlin=marlin)
    text += _shift(outlook, data["activation"]["residual_gib_p90"])
    factor = {
        Outlook.EXPECTED: 1.0,
        Outlook.CONSERVATIVE: data["estimates"]["conservative_factor"],
        Outlook.OPTIMISTIC: data["estimates"]["optimistic_factor"],
    }[outlook]
    text += gathered_workspace(model, config, outlook)
    text = maximum(text, benchmarked_embedding(model, config, outlook, last_stage=last_stage))
    outputs, tower = shapes.outputs, whole(shapes.tower * factor)
    return maximum(maximum(0, text) + outputs, tower if model.vision and model.vision.peaks else tower + outputs)


def cuda_graphs(model: ModelSpec, config: LedgerSettings[Whole], on: Device[Whole], outlook: Outlook) -> Whole | int:
    """Memory of the captured graphs, by layers of a stage and number of captured sizes; none in eager mode."""
    if config.enforce_eager or config.max_cudagraph_capture_size == 0:
        return 0
    fit = calibrated.coefficients()["cuda_graph"]
    layers, logits = model.layer_count / config.pipeline_parallel_size, _captured_logits(model, config, on.largest_graph, outlook)
    full = fit["base_gib"] + fit["per_layer_gib"] * layers + (fit["experts_gib"] if model.experts_per_token else 0)
    share = on.graph_sizes / fit["full_set_sizes"]
    factor: Whole | float = at(outlook).graphs_of_other_gpus
    if outlook is Outlook.CONSERVATIVE:
        several = where(on.nvlink, False, where(on.rocm, False, config.tensor_parallel_size >= 4))
        factor = where(several, calibrated.coefficients()["estimates"]["unlinked_graphs"], factor)
    elsewhere = whole(full * factor * share * GIB)
    measured = maximum(0, whole(full * share * GIB) + whole(_shift(outlook, fit["residual_gib_p90"]) * minimum(1.0, share)))
    return where(on.fitted, measured, elsewhere) + logits


def beside_torch(config: LedgerSettings[Whole], on: Device[Whole], outlook: Outlook) -> Whole:
    """Memory outside torch's allocator that grows during profiling: kernels' workspaces, communication buffers; with what starts of its class took beside.

    Below nothing where they took less than the causes, activations with them, give.
    """
    fit = at(outlook)
    tp, pp = config.tensor_parallel_size * config.data_parallel_size, config.pipeline_parallel_size
    single = where(pp == 1, fit.single_bytes, fit.pipeline_bytes)
    two_at_once = where(on.nvlink, True, tp == 2)  # a direct link takes no more of four GPUs than of two: four A800 took 0.7 GiB
    linked = fit.lean_nvlink_bytes if VERSIONS[config.vllm_version].lean_links else fit.nvlink_bytes
    several = where(on.multicast, linked, where(two_at_once, fit.pcie_2_bytes, fit.pcie_4_bytes))
    used: Whole = where(tp == 1, single, several) + (fit.sleep_bytes if config.enable_sleep_mode else 0)
    if on.shift_bytes is not None:  # a start on this very machine tells more than the margin
        return used + on.shift_bytes
    return used + on.margin(outlook)


def overhead(shapes: Shapes[Whole], on: Device[Whole], outlook: Outlook, *, last_stage: Whole | bool = True, columns: int = 0) -> Overhead[Whole]:
    """Everything beside weights, buffers and KV cache on one rank; graphs only where this version reserves them. `columns`: kept.workspace_columns."""
    model, config = shapes.model, shapes.config
    again = benchmarked_embedding(model, config, outlook, last_stage=last_stage)
    reserved, kept = reserves_graphs(model, config, on), kept_segments(shapes, on, outlook, again)
    peak = kept + maximum(0, activation(shapes, on, outlook, last_stage=last_stage) + minimum(0, beside := beside_torch(config, on, outlook)))
    none = 0 * peak
    graphs = cuda_graphs(model, config, on, outlook) + none
    late = none if reserved else late_graphs(config, on, outlook, graphs=graphs, peak=peak)
    if columns and reserved and counted_with_graphs(model, config, on, columns):
        space = attention_workspace(config, columns)
        graphs += where(space > kept, space, none)  # it lies in those segments if it can
    return Overhead(
        activation_bytes=peak,
        non_torch_bytes=maximum(0, beside) + delta_kernels(model, config, on),
        cuda_graph_bytes=maximum(graphs, overestimated_graphs(model, config, outlook)) if reserved else none,
        late_bytes=late + where(last_stage, warm_up(model, config, on, outlook) + none, none),
    )
