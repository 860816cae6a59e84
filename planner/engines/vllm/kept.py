"""What profiling leaves on the GPU: the workspace of an attention kernel, and segments of the allocator that a small tensor holds whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.arrays import Whole, maximum, where, whole
from planner.engines.vllm import coefficients as calibrated
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.late import EVERY_MODEL, runs_second
from planner.engines.vllm.versions import VERSIONS
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts
from planner.facts.storage import Encoding
from planner.units import MIB

if TYPE_CHECKING:
    from planner.engines.vllm.device import Device
    from planner.engines.vllm.ledger_settings import LedgerSettings
    from planner.engines.vllm.overhead import Shapes

WORKSPACE_BYTES = 394 * MIB  # envs.py VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE
BYTES_PER_COLUMN = 16  # v1/attention/backends/flashinfer.py FLASHINFER_PREFILL_WORKSPACE_BYTES_PER_ELEM
WARMED_UP = ("Qwen3Next", "Qwen3_5")  # whose layers run their prefill kernels while profiled (layers/mamba/gdn_linear_attn.py _warmup_prefill_kernels)
# Until which minor release; then as any experts, in the workspace that is kept (quantization/, "return fused_marlin_moe"; 0.11 to 0.23).
MARLIN_ALONE = {Encoding.GPTQ: 19, Encoding.AWQ: 21, Encoding.PACKED: 22}
TENSORRT_COLUMNS = 1  # on 10.x, where TensorRT-LLM's kernels attend in the plain workspace


def workspace_columns(model: ModelSpec, gpu: GpuSpec, backend: str) -> int:
    """Of all ranks, by which FlashInfer's workspace grows with the batch: query heads by their width; 0 where another backend attends."""
    if "FLASHINFER" not in backend or model.is_latent or model.is_compressed:
        return 0
    return TENSORRT_COLUMNS if gpu.capability // 10 == 10 else model.attention_heads * model.head_dim


def attention_workspace(config: LedgerSettings[Whole], columns: int) -> Whole:
    """Bytes that FlashInfer works in: as much as the largest batch needs, since 0.26 (v1/attention/backends/flashinfer.py _get_workspace_buffer)."""
    batch: Whole = columns // config.tensor_parallel_size * BYTES_PER_COLUMN * config.max_num_batched_tokens
    return maximum(WORKSPACE_BYTES, batch if VERSIONS[config.vllm_version].workspace_by_batch else 0 * batch)


def counted_with_graphs(model: ModelSpec, config: LedgerSettings[Whole], on: Device[Whole], columns: int) -> bool:
    """Whether that workspace appears while graphs are reckoned: by the first runner, where decoding is captured whole, with its attention.

    FlashInfer's own kernels are not where tokens are drafted (get_cudagraph_support). The second runner has it before it measures (v1/worker/gpu/
    attn_utils.py, cudagraph_utils.py profile_cudagraph_memory): it then lies outside the budget, in what `plan` keeps back of a GPU.
    """
    second = VERSIONS[config.vllm_version].minor >= EVERY_MODEL if config.second_runner is None else config.second_runner
    if config.enforce_eager or config.max_cudagraph_capture_size == 0 or second or runs_second(model, config, on):
        return False
    return model.drafter is None or columns == TENSORRT_COLUMNS


def kept_segments(shapes: Shapes[Whole], on: Device[Whole], outlook: Outlook, again: Whole | int) -> Whole | int:
    """What is counted beside the peak because segments of it stay reserved: a small tensor that outlives profiling may lie in each.

    0.27 takes the drop of free memory for what was consumed (utils/mem_utils.py memory_profiling), 0.31 keeps the allocator from splitting large
    blocks meanwhile (v1/worker/gpu_worker.py determine_available_memory). It was seen where a tower was profiled before the text, with the first runner:
    Qwen3.8-27B left 1.1 GiB less with batches of 8192 on an L40S and a PRO 6000, 2.2 with 16384 on an RTX 5090, which is what the tensors of a batch
    take. Two RTX 3090 that share each layer left a third of it; others, and the second runner, as much as without it: there at most.

    So the figure changes at once from 0.26 to 0.27 and from 0.30 to 0.31, where vLLM measures otherwise, and from one GPU to two, where what stayed of a
    batch was seen to be less: the expected one leaves it out there, and the interval holds it.

    `again` is the second embedding that compiling makes up. Three models of Mamba 2 and attention without a tower left 0.7 to 1.2 GiB less on one
    machine in 0.29 (public file 70105983648), about what it takes; dense models did not. Nobody found of what (GUESS: its segment stays): at most.
    """
    model, config = shapes.model, shapes.config
    profiled = model.vision is not None and not config.skip_mm_profiling
    if outlook is Outlook.OPTIMISTIC or not VERSIONS[config.vllm_version].segments_kept:
        return 0
    if not profiled:
        return again if model.has_state and outlook is Outlook.CONSERVATIVE else 0
    if outlook is Outlook.EXPECTED:
        alone: Whole = where(config.tensor_parallel_size == 1, shapes.forward, 0 * shapes.forward)
        return 0 if runs_second(model, config, on) else alone
    return shapes.forward + shapes.workspace


def marlin_workspace(model: ModelSpec, config: LedgerSettings[Whole]) -> Whole | None:
    """What experts of packed integers work in where a release calls Marlin's kernels by themselves; None where it does not, or experts are others.

    Both products in one tensor and the activation in another (fused_moe/fused_marlin_moe.py), given back after each layer: no release keeps it.
    """
    banks = [module for group in model.layers for module in group.modules if isinstance(module, Experts)]
    if not banks or any(VERSIONS[config.vllm_version].minor > MARLIN_ALONE.get(bank.storage.encoding, 0) for bank in banks):
        return None
    inner: Whole = model.expert_intermediate // config.tensor_parallel_size
    work: Whole = config.max_num_batched_tokens * model.experts_per_token * (maximum(2 * inner, model.hidden_size) + inner) * 2
    return work


def expert_tensors(shapes: Shapes[Whole], *, marlin: Whole | bool) -> tuple[Whole | int, Whole | int]:
    """What experts work in during a layer, and what of it stays while the sampler runs; `marlin` where its kernels are to be had."""
    works: Whole | int = shapes.workspace
    stays: Whole | int = works if VERSIONS[shapes.config.vllm_version].workspace_kept else 0 * works
    if (alone := shapes.marlin) is None:
        return works, stays
    keys: Whole | int = shapes.gathered_keys if VERSIONS[shapes.config.vllm_version].workspace_kept else 0
    less: Whole = where(marlin, maximum(alone, shapes.gathered_keys), works + 0 * alone)
    return less, where(marlin, keys + 0 * alone, stays + 0 * alone)


def delta_kernels(model: ModelSpec, config: LedgerSettings[Whole], on: Device[Whole]) -> Whole | int:
    """What the driver of a GPU of 12.x keeps for the gated delta rule's kernels once profiling has run them. Measured; on other GPUs nobody saw it."""
    if not VERSIONS[config.vllm_version].delta_tensor_maps or not model.architecture.startswith(WARMED_UP) or on.shift_bytes is not None:
        return 0
    return whole(on.multiprocessors * calibrated.coefficients()["estimates"]["tensor_maps_mib"] * MIB)
