"""How vLLM decides: defaults, what its kernels round up, which GPUs and quantizations it refuses.

Sources: vLLM 0.33.0 files named beside each rule; the tables were read off vLLM itself with simulated GPUs (tests/oracle).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from planner.arrays import Whole
from planner.engines.vllm.versions import DEFAULT_VERSION, LEAST_CAPABILITY, METHODS, ROCM_GFX, VERSIONS, Version, knows_method, minimum_capability, newest_for
from planner.errors import UnsupportedError
from planner.facts.attention import CrossAttention, per_head
from planner.facts.config import Parallel
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts, Linear
from planner.facts.record import replace
from planner.units import GIB

if TYPE_CHECKING:
    from planner.engines.vllm.ledger_settings import LedgerSettings

ONLINE = "fp8"  # vLLM quantizes a 16-bit checkpoint while it loads it
TURING = 75
GEMMA4_FRAMES, GEMMA4_FRAME = 32, 70 + 2 + 6  # of a film at most; tokens of each with its marks and its time stamp (gemma4_mm.py of 0.19 to 0.33)
GEMMA4_FILM = GEMMA4_FRAMES * GEMMA4_FRAME
WHOLE_PICTURES, WHOLE_BY_DEFAULT = 20, 22  # since when Gemma 4's are not divided, and a batch that nobody said is raised for it (engine/arg_utils.py)
# Its kernel holds 16 rows of queries and 32 of keys and of values at once, 80 KiB in 16 bits (attention/ops/triton_unified_attention.py, alike
# in every release that has Gemma 4); seen of Gemma 4 E2B on a T4 in 0.29.
TOO_WIDE_FOR_TURING = 512
NATIVE_FP8 = 89  # compute capability that multiplies in FP8


def default_batches(gpu: GpuSpec, memory_bytes: int, version: Version) -> tuple[int, int]:
    """max_num_batched_tokens and max_num_seqs of the API server by GPU (engine/arg_utils.py:2940 get_batch_defaults).

    A GB10 has the small ones in every release: NVML does not tell its memory (until 0.32 vLLM then reckons with none), 0.33 names it.
    """
    if memory_bytes >= 160 * GIB and version.large_batches:
        return 16_384, 1024
    if memory_bytes >= 70 * GIB and "a100" not in gpu.name and gpu.capability != 121:
        return 8192, 1024
    return 2048, 256


def least_batch(model: ModelSpec, version: Version) -> int:
    """Tokens that a batch has to hold: the largest item of a model whose pictures attend in both directions, which are never divided.

    Known of Gemma 4, where it is a film (gemma4_mm.py and gemma4_unified.py get_mm_max_tokens_per_item; platforms/cuda.py check_and_update_config, is_mm_prefix_lm).
    """
    whole = model.bidirectional_images and is_gemma4(model) and version.minor >= WHOLE_PICTURES
    return GEMMA4_FILM if whole else 1


def heard_tokens(model: ModelSpec) -> int:
    """Tokens of a sound whose encoder's output is a cache of its own, as Whisper's: never divided, so that a batch has to hold it; 0 for other models."""
    hears = model.vision is not None and any(isinstance(cache, CrossAttention) for cache in model.caches)
    return model.vision.tokens_per_item if hears and model.vision is not None else 0


def is_gemma4(model: ModelSpec) -> bool:
    """Whether it is Gemma 4 with its pictures."""
    return model.architecture.startswith(("Gemma4For", "Gemma4UnifiedFor"))


def in_flight_tokens(config: LedgerSettings[Whole], *, pooled: bool = False) -> Whole:
    """Tokens scheduled but not settled: one batch a concurrent step (config/vllm.py:588-609, async scheduling), before 0.26 one batch.

    A pooled model is not scheduled so unless it is asked for.
    """
    if not VERSIONS[config.vllm_version].steps_in_flight:
        return config.max_num_batched_tokens
    steps: Whole = config.pipeline_parallel_size + int(not pooled if config.async_scheduling is None else config.async_scheduling)
    return steps * config.max_num_batched_tokens


def reserved_blocks(config: LedgerSettings[Whole]) -> int:
    """Blocks that no request is admitted to: the null block, since 0.29."""
    return int(VERSIONS[config.vllm_version].null_block_reserved)


def state_blocks_needed(config: LedgerSettings[Whole]) -> int:
    """Blocks a hybrid refuses to start without: one for each sequence where decoding is captured whole, since 0.20 (config/compilation.py:1526)."""
    captured = not config.enforce_eager and config.max_cudagraph_capture_size != 0
    return config.max_num_seqs if captured and VERSIONS[config.vllm_version].state_checked else 0


def capture_sizes(max_num_seqs: int, capability: int, version: Version, *, tokens: int = 1, fine: bool = False) -> list[int]:
    """Batch sizes captured as CUDA graphs (config/vllm.py:2400-2610). `tokens` are those of a request's step: with the drafted ones, which are verified.

    Sizes that whole numbers of requests fill are captured too; with `fine` every size up to 32 (--performance-mode interactivity).
    """
    limit = min(2 * max_num_seqs * tokens, 1024 if capability // 10 == 10 and version.large_batches else 512)
    sizes = [size for size in (range(1, 33) if fine else (1, 2, 4)) if size <= limit]
    sizes += [size for size in range(8, min(limit + 1, 256), 8) if size not in sizes]
    sizes += list(range(256, limit + 1, 16 if version.coarse_graphs else 8))
    if tokens == 1:
        return sizes
    counts = (*sizes, max_num_seqs)
    return sorted({*sizes, *(count * tokens for count in counts if count * tokens <= limit and count <= max_num_seqs)})


_NO_FLOAT16 = ("Gemma2", "Gemma3", "Glm4ForCausalLM")  # config/model.py _FLOAT16_NOT_SUPPORTED_MODELS, of those that are known here


def dtype_bits(model: ModelSpec, gpu: GpuSpec, dtype: str) -> int:
    """Bits of weights and activations. Without bfloat16 (before Ampere) models that float16 breaks run in float32.

    Raises UnsupportedError for bfloat16 on such a GPU.
    """
    if gpu.vendor == "nvidia" and gpu.capability < 80:
        if dtype == "bfloat16":
            raise UnsupportedError(f"bfloat16 needs compute capability 8.0; {gpu.title} has {gpu.capability / 10}")
        if dtype == "auto" and model.architecture.startswith(_NO_FLOAT16):
            return 32
    return 32 if dtype == "float32" else 16


def with_kernels(parallel: Parallel, gpu: GpuSpec, version: str = DEFAULT_VERSION) -> Parallel:
    """Add what this GPU's MoE kernels round expert dimensions up to (fused_moe/oracle/mxfp4.py:837, unquantized.py), and which blocks a shard may cut.

    Scales of finer blocks are for Triton's kernels, which need FP8 arithmetic (fused_moe/oracle/fp8.py refine_fp8_moe_block_shape).
    """
    major, release = gpu.capability // 10, VERSIONS[version]
    width, hidden = _mxfp4_multiples(gpu, release)
    return replace(
        parallel,
        expert_width_multiple=width,
        expert_hidden_multiple=hidden,
        ungated_width_multiple=128 if major == 10 else 1,
        wide_router=major not in (9, 10),
        experts_refined=release.blocks_refined and (gpu.vendor != "nvidia" or gpu.capability >= 89),
        merged_cut=release.merged_blocks_cut,
    )


def _mxfp4_multiples(gpu: GpuSpec, release: Version) -> tuple[int, int]:
    """Of the width and the hidden size of MXFP4 experts: by Triton's kernels on Hopper, FlashInfer's on 10.x, Marlin's, and on AMD."""
    if gpu.vendor == "amd":
        return 256, 256
    if gpu.capability // 10 == 9 and release.triton_mxfp4:
        return 64, 1
    return (release.trtllm_width if gpu.capability // 10 == 10 else 128), 256


_SAME_METHOD = {"awq": "auto_awq", "awq_marlin": "auto_awq", "gptq": "auto_gptq", "gptq_marlin": "auto_gptq", "mxfp4": "gpt_oss_mxfp4"}


# What these checkpoints are is read off them, whatever a command names: override_quantization_method of modelopt.py asks nothing of it in any release
# (`--quantization fp4` started an NVFP4 file in 0.19.2), those of the others since the release named.
_DETECTED = {"modelopt": 0, "modelopt_fp4": 0, "modelopt_mixed": 0, "inc": 16, "gpt_oss_mxfp4": 20, "deepseek_v4_fp8": 20}
# Before that the names of which a checkpoint of the kind was told.
_NAMES = frozenset({*_SAME_METHOD, *_SAME_METHOD.values(), "auto-round", "fp8", "inc", "modelopt", "modelopt_fp4", "quark", "compressed-tensors"})

# Quantize a 16-bit checkpoint while loading, in ways whose sizes are not known here (config/quantization.py _ONLINE_SHORTHANDS).
BITSANDBYTES, HUMMING = "bitsandbytes", "humming"
_WHILE_LOADING = frozenset(
    {"online", "torchao", "rtn", "ptpc_fp8", HUMMING}
)  # rtn and ptpc_fp8 of earlier releases need no config (weight_utils.py get_quant_config)
_ANEW = frozenset({"online", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "mxfp8", "int8_per_channel_weight_only", "nvfp4_per_token"})
_SAYS_HOW = 33  # since when "online" and "torchao" alone are read so (model_loader/weight_utils.py get_quant_config)


def is_quantized_while_loading(asked: str | None, actual: str | None, version: str) -> bool:
    """Whether `--quantization` makes weights of a size that the ledger does not hold, or that nobody compared with a start."""
    if asked is None or not knows_method(asked, version):
        return False
    if asked == BITSANDBYTES:
        return actual == asked
    if actual is None:
        return asked in _WHILE_LOADING
    anew = asked in _ANEW and actual in _DETECTED
    humming = asked == HUMMING and actual != "gpt_oss_mxfp4"
    return anew or humming or (asked, actual) == ("deepseek_v4_fp8", "fp8")  # kernels of their own


def quantization_problem(asked: str | None, actual: str | None, version: str = DEFAULT_VERSION) -> str:
    """Why `--quantization` does not go with the checkpoint (config/model.py _verify_quantization), or an empty string."""
    if asked is None or is_quantized_while_loading(asked, actual, version):
        return ""
    is_known = knows_method(asked, version)
    detected = actual in _DETECTED and not (is_known and asked in _ANEW | {HUMMING})
    if detected and actual is not None and (asked in _NAMES or VERSIONS[version].minor >= _DETECTED[actual]):
        return ""
    by_other_kernels = asked in ("marlin", "moe_wna16") and actual in ("auto_awq", "auto_gptq")
    if by_other_kernels or (is_known and actual in (asked, _SAME_METHOD.get(asked, asked))):
        return ""
    if is_known or actual not in (None, asked):
        return f"--quantization {asked}: the checkpoint is {actual or 'not quantized'}"
    since, until = METHODS.get(asked, (0, 0))
    when = f"; it came with 0.{since}" if VERSIONS[version].minor < since else f"; the last that has it is 0.{until}" if until else ""
    return f"Unknown quantization method: {asked}, to vLLM {version}{when}"


def unsaid_quantization(asked: str | None, actual: str | None, version: str) -> tuple[str, str] | None:
    """A way to quantize while loading that alone says nothing of how: what vLLM ends with, and what mends it."""
    if actual is not None or VERSIONS[version].minor < _SAYS_HOW:
        return None
    if asked == "torchao":
        file = """--hf-overrides '{"quantization_config_file": "torchao_config.json"}'"""
        return "TorchAOConfig.__init__() missing 1 required positional argument: 'torchao_config'", file
    if asked == "online":
        return "OnlineQuantizationConfig.__init__() missing 1 required positional argument: 'args'", "--quantization fp8_per_tensor"
    return None


def unserved(gpu: GpuSpec) -> str:
    """Why no release known here runs on a GPU, whatever is asked; empty where one does."""
    match gpu.vendor:
        case "apple":
            return "vLLM needs an NVIDIA or AMD GPU"
        case "intel":
            return "vLLM serves Intel's GPUs from a build of its own (platforms/xpu.py), whose memory was not measured here"
        case "amd":
            return "" if not gpu.gfx or gpu.gfx in ROCM_GFX else f"vLLM's ROCm images hold kernels for {', '.join(ROCM_GFX)}; this is {gpu.gfx}"
        case "nvidia":
            return (
                "" if gpu.capability >= LEAST_CAPABILITY else f"vLLM's wheels need compute capability {LEAST_CAPABILITY / 10}; this has {gpu.capability / 10}"
            )
        case _:
            assert_never(gpu.vendor)


def check_gpu(gpu: GpuSpec, version: str) -> None:
    """Refuse a GPU that the release's wheels hold no kernels for. Raises UnsupportedError."""
    least = VERSIONS[version].least_capability
    if gpu.vendor != "nvidia" or gpu.capability >= least:
        return
    older = newest_for(gpu.capability)
    which = f"the newest whose wheels run on it is {older}" if older else "no release known here runs on it"
    raise UnsupportedError(f"the wheels of vLLM {version} need compute capability {least / 10}; {gpu.title} has {gpu.capability / 10}: {which}")


def heads_too_wide(model: ModelSpec, gpu: GpuSpec) -> bool:
    """Whether no attention kernel of a GPU holds the model's heads."""
    is_turing = gpu.vendor == "nvidia" and gpu.capability == TURING
    return is_turing and any(head.head_dim >= TOO_WIDE_FOR_TURING for cache in model.caches if (head := per_head(cache)))


def check_model(model: ModelSpec, gpu: GpuSpec, version: str) -> None:
    """Refuse what cannot run whatever the settings: the GPU itself, or a quantization that its compute capability lacks. Raises UnsupportedError."""
    check_gpu(gpu, version)
    if model.quantization == "nvfp4_per_token" and gpu.capability // 10 != 10:
        raise UnsupportedError(f"nvfp4_per_token online quantization requires a Blackwell (SM100) GPU; {gpu.title} has {gpu.capability / 10}")
    for method in _methods(model) if gpu.vendor == "nvidia" and gpu.capability < NATIVE_FP8 else ():
        if gpu.capability < (minimum := minimum_capability(method, version)):
            needs = f"the quantization method {method} needs compute capability {minimum / 10}{_in_release(method, minimum, version)}"
            raise UnsupportedError(f"{needs}; {gpu.title} has {gpu.capability / 10}")
    if heads_too_wide(model, gpu):
        raise UnsupportedError(
            f"out of resource: shared memory: Triton's attention on heads of {TOO_WIDE_FOR_TURING} needs more than the 64 KiB of {gpu.title}"
        )


def _methods(model: ModelSpec) -> list[str]:
    """Its quantization method as the table names it, and the schemes that compressed-tensors asks a capability for, each by itself."""
    if model.quantization != "compressed-tensors":
        return [model.quantization] if model.quantization else []
    held = {module.storage.encoding for group in model.layers for module in group.modules if isinstance(module, Linear | Experts)}
    return [model.quantization, *(f"{model.quantization} {encoding}" for encoding in sorted(held))]


def _in_release(method: str | None, minimum: int, version: str) -> str:
    """Words for a minimum that only older releases have."""
    return "" if minimum == minimum_capability(method, DEFAULT_VERSION) else f" in vLLM {version}"
