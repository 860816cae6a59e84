"""What a server takes once its KV cache is sized: graphs that nothing sets aside, and what the sampler's warm-up takes beyond its profile.

Which model runner serves decides it. The second one counts no graphs until 0.28 (v1/worker/gpu/model_runner.py profile_cudagraph_memory returns 0:
vllm issue 49224) and profiles the sampler without what its warm-up asks for until 0.32 (vllm pull requests 48601, 57926). By default it serves a few
models since 0.22, all dense ones since 0.25 and all since 0.29 (config/vllm.py use_v2_model_runner of 0.22 to 0.33).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.arrays import Whole, maximum, minimum, where, whole
from planner.engines.vllm import coefficients as calibrated
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.versions import VERSIONS
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.units import GIB

if TYPE_CHECKING:
    from planner.engines.vllm.device import Device
    from planner.engines.vllm.ledger_settings import LedgerSettings

QUANTIZED, DENSE, EVERY_MODEL, ITS_SAMPLER_PROFILED = 24, 25, 29, 33  # minor releases since when the second runner does so
OF_HYBRIDS = 27  # those that are named for it
# Architectures that it serves by default before it serves all, and since which minor release.
NAMED = {
    "Qwen3ForCausalLM": 22,
    "LlamaForCausalLM": 23,
    "MistralForCausalLM": 23,
    "DeepseekV2ForCausalLM": 24,
    "GraniteMoeForCausalLM": 24,
    "Qwen2MoeForCausalLM": 24,
    "InklingForCausalLM": 26,
    "InklingForConditionalGeneration": 26,
    "LongcatFlashNgramForCausalLM": 26,
    "KimiK3ForConditionalGeneration": 27,
    "DeepseekV4ForCausalLM": 28,
}
# Ways to draft that it takes; with others the first one serves (config/vllm.py _get_v2_model_runner_unsupported_features).
DRAFTS = {"mtp": 22, "eagle": 22, "eagle3": 22, "dflash": 24, "dspark": 25}


def runs_second(model: ModelSpec, config: LedgerSettings[Whole], on: Device[Whole]) -> bool:
    """Whether the second model runner serves: as the environment says, else by default."""
    if config.second_runner is not None:
        return config.second_runner
    minor, drafter = VERSIONS[config.vllm_version].minor, model.drafter
    if drafter is not None and drafter.method == "dspark" and minor >= DRAFTS["dspark"]:
        return True  # the only one that can
    if drafter is not None and minor < DRAFTS.get(drafter.method, minor + 1):
        return False
    if model.is_compressed and bool(on.rocm):
        return False
    return minor >= EVERY_MODEL or (not model.pooling and _is_default(model, minor))


def _is_default(model: ModelSpec, minor: int) -> bool:
    named = minor >= NAMED.get(model.architecture, EVERY_MODEL)
    if model.has_state and not (named and minor >= OF_HYBRIDS):
        return False
    if minor < QUANTIZED and model.quantization:
        return False
    return named or (minor >= DENSE and not model.experts_per_token)


def reserves_graphs(model: ModelSpec, config: LedgerSettings[Whole], on: Device[Whole]) -> bool:
    """Whether CUDA graphs lie inside the budget."""
    version = VERSIONS[config.vllm_version]
    if version.minor < EVERY_MODEL and runs_second(model, config, on):
        return False
    return version.graphs_reserved if config.estimates_graphs is None else config.estimates_graphs


def overestimated_graphs(model: ModelSpec, config: LedgerSettings[Whole], outlook: Outlook) -> int:
    """What the budget may set aside for graphs whose sizes share memory: a multiple of one of them, large where ranks gather the tokens of other engines.

    Of releases in which the first runner reckons so (v1/worker/gpu_model_runner.py profile_cudagraph_memory); 0 elsewhere.
    """
    gathers = config.data_parallel_size > 1 and model.experts_per_token > 0
    captures = not config.enforce_eager and config.max_cudagraph_capture_size != 0
    if outlook is not Outlook.CONSERVATIVE or not (gathers and captures) or VERSIONS[config.vllm_version].minor >= EVERY_MODEL:
        return 0
    return int(calibrated.coefficients()["estimates"]["gathered_graphs_gib"] * GIB)


def may_have_older_driver(gpu: GpuSpec) -> bool:
    """Whether a GPU may be driven by what is older than CUDA 12.4: those of data centres before Blackwell, whose machines keep a driver for years."""
    return gpu.vendor == "nvidia" and gpu.memory_type == "hbm" and gpu.capability < 100


def late_graphs(config: LedgerSettings[Whole], on: Device[Whole], outlook: Outlook, *, graphs: Whole, peak: Whole) -> Whole:
    """Graphs that nothing set aside: captured where activations were; at most beside them, as the sampler's warm-up takes as much once more."""
    if outlook is not Outlook.CONSERVATIVE:
        late: Whole = maximum(0, graphs - peak)
        return where(on.pages, 0, late)
    if not VERSIONS[config.vllm_version].older_drivers:
        return graphs
    factor = calibrated.coefficients()["estimates"]["older_driver_graphs"]
    return where(on.older_driver, whole(factor * graphs), graphs)


def warm_up(model: ModelSpec, config: LedgerSettings[Whole], on: Device[Whole], outlook: Outlook) -> Whole | int:
    """What the sampler's warm-up takes beyond its profile: further copies of the logits of one row a sequence.

    Before 0.17 it may take all of them anew where several cards without a link between them serve: what the profile left is in pieces by then. Four
    PRO 6000 had 1.69 GiB left for 1.74 with 1024 sequences at 0.90 (public file 29156490496).
    """
    version, estimates = VERSIONS[config.vllm_version], calibrated.coefficients()["estimates"]
    if model.pooling or version.minor >= ITS_SAMPLER_PROFILED:
        return 0
    rows: Whole = minimum(config.max_num_seqs, config.max_num_batched_tokens)
    if not runs_second(model, config, on):
        wary = outlook is Outlook.CONSERVATIVE and not version.lean_sampler
        again: Whole = whole(estimates["sampler_copies_at_most"] * model.vocab_size * rows * 4)
        return where(on.nvlink, 0, where(on.rocm, 0, where(config.tensor_parallel_size == 1, 0, again))) if wary else 0
    copies = estimates["unprofiled_sampler_copies"][list(Outlook).index(outlook)]
    further: Whole = whole(copies * model.vocab_size * rows * 4)
    return further if outlook is Outlook.CONSERVATIVE else where(on.pages, 0, further)
