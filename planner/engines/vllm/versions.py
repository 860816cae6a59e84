"""What changed between vLLM releases, as far as memory and defaults are concerned.

Read off the source distributions of 0.11.0 to 0.33.0 on PyPI; each field names the file. Everything else follows the newest release.
"""

from __future__ import annotations

import re

from planner.facts.record import dataclass

OLDEST, NEWEST = 11, 33
OFFLOADS_TOWERS = 30
NGRAMS_IN_MAIN_MEMORY = {"nvidia": 30, "amd": 31}  # config/engram.py cpu_offload, models/qwen4_exp/{nvidia,amd}
SPARSE_SM120, NVFP4_OFF_BLACKWELL = 24, 32
FEWER_SEQUENCES = (8, 4)  # minor and patch since when a GPU below the data centre's takes 256 sequences by default, before 1024 (vllm pull request 16158)
TOKENS_BY_REQUESTS = (20, 1)  # minor and patch since when the log counts tokens so
# On AMD: sparse MLA by AITER's kernels (platforms/rocm.py), with an FP8 cache (mla/rocm_aiter_mla_sparse.py supported_kv_cache_dtypes), DeepSeek V4 (models/deepseek_v4/amd)
SPARSE_ROCM, SPARSE_ROCM_FP8, DEEPSEEK_V4_ROCM = 12, 20, 22
# KV cache dtypes that came later than the oldest release: config/cache.py CacheDType, and a backend that takes it (nvfp4: 0.20 names it, none does)
KV_DTYPES_SINCE = {"fp8_ds_mla": 12, "float16": 18, "int8_per_token_head": 20, "fp8_per_token_head": 20, "nvfp4": 21, "int4_per_token_head": 25}
KV_DTYPES_SINCE |= dict.fromkeys(("turboquant_k8v4", "turboquant_4bit_nc", "turboquant_k3v4_nc", "turboquant_3bit_nc"), 20)
KV_DTYPES_SINCE |= {"nvfp4_4over6": 28, "nvfp4_ds_mla": 30, "ultraquant_4bit": 32} | dict.fromkeys(("octave_k3v4", "octave_k3v3", "octave_k3v3_compact"), 33)
# The cache that a ModelOpt checkpoint names: before that a release warns and keeps the model's own, or does not look for one (utils/torch_utils.py)
MODELOPT_CACHES = {"fp8": 14, "nvfp4": 20}
# TurboQuant: on hybrids (quantization/turboquant/config.py), blocks of mixed layers aligned
# (platforms/interface.py _align_heterogeneous_kv_block_size), one order of a block's tokens for all backends (supported_kv_cache_layouts)
TURBOQUANT_HYBRIDS, SKIPPED_BLOCKS_ALIGNED, CACHE_LAYOUTS = 21, 25, 29
# The compute capability that a quantization method needs, since which release (get_min_capability of each; config/vllm.py compares). AWQ and GPTQ
# have had the lower one all along: before 0.14, where their Marlin kernels needed 8.0, others took over (awq.py, gptq.py).
MINIMUM_CAPABILITY = {
    "auto_awq": ((OLDEST, 75),),
    "auto_gptq": ((OLDEST, 60),),
    "inc": ((OLDEST, 60),),
    "fp8": ((OLDEST, 80), (14, 75)),
    "fp8_per_tensor": ((OLDEST, 80), (14, 75)),
    "fp8_per_block": ((OLDEST, 80), (14, 75)),
    "fp8_per_channel": ((OLDEST, 80), (14, 75)),
    "compressed-tensors": ((OLDEST, 70),),
    # of its schemes (compressed_tensors/schemes/): 0.14 still asks for 8.0, 0.16 no more, and 0.15 has no source distribution
    "compressed-tensors fp8": ((OLDEST, 80), (15, 75)),
    "compressed-tensors nvfp4": ((OLDEST, 80), (15, 75)),
    "compressed-tensors packed": ((OLDEST, 75),),
    "compressed-tensors int8": ((OLDEST, 75),),
    "modelopt": ((OLDEST, 89), (27, 80)),
    "modelopt_fp4": ((OLDEST, 80), (14, 75)),
    "modelopt_mixed": ((OLDEST, 89), (24, 75)),
    "gpt_oss_mxfp4": ((OLDEST, 80),),
    "experts_int8": ((OLDEST, 80),),
    "quark": ((OLDEST, 70),),
}
# Quantization methods by name: the first and the last release that has each (layers/quantization/__init__.py QuantizationMethods of 0.11 to 0.33).
METHODS = dict.fromkeys(
    (
        *("awq", "awq_marlin", "compressed-tensors", "experts_int8", "fbgemm_fp8", "fp8", "fp_quant", "gptq", "gptq_marlin", "inc"),
        *("modelopt", "modelopt_fp4", "moe_wna16", "mxfp4", "quark", "torchao"),
    ),
    (OLDEST, NEWEST),
)
METHODS |= dict.fromkeys(("auto-round", "bitblas", "deepspeedfp", "gptq_bitblas", "gptq_marlin_24", "hqq", "ipex", "rtn"), (OLDEST, 14))
METHODS |= {"tpu_int8": (OLDEST, 13), "ptpc_fp8": (OLDEST, 18), "petit_nvfp4": (OLDEST, 19), "gguf": (OLDEST, 23), "bitsandbytes": (OLDEST, 27)}
METHODS |= {"cpu_gptq": (12, 13), "cpu_awq": (12, 22), "modelopt_mxfp8": (16, NEWEST), "modelopt_mixed": (17, NEWEST), "mxfp8": (19, NEWEST)}
METHODS |= dict.fromkeys(("online", "humming", "gpt_oss_mxfp4", "deepseek_v4_fp8"), (20, NEWEST))
METHODS |= dict.fromkeys(("fp8_per_tensor", "fp8_per_block", "int8_per_channel_weight_only"), (20, NEWEST))
METHODS |= {"auto_gptq": (22, NEWEST), "auto_awq": (24, NEWEST), "fp8_per_channel": (24, NEWEST), "nvfp4_per_token": (26, NEWEST)}
UNREAD = (15,)  # a release without a source distribution: of what differs on both sides of it, nobody knows which it has


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One minor release."""

    name: str
    minor: int
    graphs_reserved: bool  # CUDA graphs lie inside the budget since 0.20 (envs.py VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS)
    older_drivers: bool  # machines of its time may still have a driver from before CUDA 12.4: seen until 0.11 (GUESS: until 0.13, of December 2025)
    graphs_estimated: bool  # and are reckoned where that variable asks for it since 0.18
    large_batches: bool  # a third tier of default batches, from 160 GiB on, since 0.28 (engine/arg_utils.py get_batch_defaults)
    steps_in_flight: bool  # windows keep the tokens of every concurrent step, not of one, since 0.26 (config/vllm.py max_in_flight_tokens)
    null_block_reserved: bool  # admission leaves one block out since 0.29 (v1/core/kv_cache_utils.py)
    coarse_graphs: bool  # above 256 every 16th batch size is captured since 0.12, every 8th before (config/vllm.py)
    state_checked: bool  # a hybrid with fewer blocks than sequences is refused since 0.20 (config/compilation.py)
    quantizes_late: bool  # --quantization fp8 holds every weight in 16 bits first until 0.15, one layer's at a time since (layers/quantization/fp8.py)
    workspace_kept: bool  # what experts work in stays allocated while the sampler runs since 0.14 (v1/worker/workspace.py; 0.13 has it for some kernels)
    outputs_padded: bool  # what a tower puts out while profiled is padded to the encoder's whole budget until 0.12 (v1/worker/gpu_model_runner.py profile_run)
    gathers_in_workspace: (
        bool  # an indexer's keys lie in the experts' workspace since 0.13 (model_executor/models/deepseek_v2.py; layers/sparse_attn_indexer.py)
    )
    gathers_less: bool  # of contexts beyond 256 Ki since 0.32 (config/vllm.py sparse_mla_prefill_workspace_factor)
    prompt_logits_profiled: bool  # an indexer's logits are set aside while profiling since 0.19 (layers/sparse_attn_indexer.py)
    lean_links: bool  # GPUs joined by switches may keep less outside torch since 0.27 (overhead.json: links)
    lean_sampler: bool  # the sampler's warm-up keeps fewer copies of the logits since 0.17 (overhead.json: sampler_copies)
    times_fused_kernels: bool  # kernels fused side by side are timed while compiling since torch 2.9, in 0.12 (config/compilation.py benchmark_combo_kernel)
    flashinfer_fp8: bool  # FP8 caches go to FlashInfer off Hopper since 0.12, to Triton before (platforms/cuda.py get_attn_backend_cls)
    workspace_by_batch: bool  # FlashInfer's workspace is as large as the largest batch needs since 0.26 (backends/flashinfer.py _get_workspace_buffer)
    segments_kept: bool  # reserved segments count beside the peak from 0.27 until 0.30 (utils/mem_utils.py, v1/worker/gpu_worker.py)
    flash_attention_e5m2: bool  # FlashAttention took fp8_e5m2 on Hopper until 0.21 (backends/flash_attn.py supports_kv_cache_dtype)
    turing_backend: str  # 16-bit caches on 7.5: FLEX_ATTENTION in 0.11, FLASHINFER until 0.23, then Triton as everywhere below 8.0 ("")
    two_backends: bool  # wide heads with images: Triton for these, another for the rest, since 0.30 (platforms/cuda.py)
    wide_head_blocks: bool  # blocks of 64 for heads wider than 256 since 0.31 (backends/flash_attn.py _get_sm90_fa4_fp8_kv_block_size)
    cutlass_mla: bool  # MLA on 10.x: CUTLASS_MLA's blocks of 128 until 0.14 (platforms/cuda.py); 0.15 has no source distribution
    sparse_flash_attention: bool  # 16-bit sparse MLA on Hopper by FlashAttention since 0.25, by FlashMLA before, in the same blocks
    sparse_sm120: bool  # sparse MLA on 12.x since 0.24 (platforms/cuda.py)
    nvfp4_off_blackwell: bool  # NVFP4 caches off 10.x since 0.32 (backends/flashinfer.py _nvfp4_kv_on_fa2)
    blocks_refined: bool  # FP8 experts whose slice cuts a block get finer scales since 0.29 (fused_moe/oracle/fp8.py), are refused before (fp8.py)
    merged_blocks_cut: bool  # fused FP8 layers may cut a block since 0.14 (linear.py _maybe_allow_fp8_block_shape_mismatch)
    hybrid_prefix_caching: bool  # on for hybrids without being asked for since 0.28 (engine/arg_utils.py _set_default_chunked_prefill_and_prefix_caching_args)
    blocks_within_batch: bool  # prefixes of delta rules want batches of a block from 0.17 until 0.26 (config/vllm.py validate_mamba_block_size)
    prefill_checkpoints: tuple[
        int, ...
    ]  # alignments of those that kernels export and a request holds: FlashKDA's since 0.29, Mamba2's 0.32, the delta rule's 0.33
    state_of_every_block: bool  # prefix caching of Mamba 2 keeps the state of every block from 0.12 on, by default until 0.27 (mamba_cache_mode all)
    tokens_by_groups: bool  # "GPU KV cache size" is blocks // groups x block size until 0.20.0, requests x max_model_len from 0.20.1 on (kv_cache_utils.py)
    whole_need_checked: bool  # a pipeline's smallest cache is held against what a request needs of all stages from 0.14 until 0.16 (kv_cache_utils.py)
    first_group_checked: bool  # the need of one request counts the first group of layers alone from 0.14 until 0.18 (kv_cache_utils.py)
    group_spread: float  # layers of several kinds form groups of the largest's size below this ratio: 1 in 0.11, 1.25 until 0.17 (kv_cache_utils.py)
    pads_packed: (
        bool  # pages of packed groups are padded, and a request counts by bytes: 0.20 to 0.25 (kv_cache_utils.py of 0.24; not in 0.28; GUESS: 0.26, 0.27)
    )
    blocks_override_checked: bool  # --num-gpu-blocks-override stands for the memory in the check of one request since 0.20 (kv_cache_utils.py)
    yarn_scales_length: bool  # YaRN's factor is applied to the original length until 0.29 (config/model.py _get_and_verify_max_len)
    level_flag: str  # what -O3 is short for: a key of --compilation-config in 0.11 (utils/__init__.py FlexibleArgumentParser), a flag of its own since
    backend_by_environment: bool  # VLLM_ATTENTION_BACKEND until 0.15 (envs.py)
    offloads_towers: bool  # --cpu-offload-gb takes vision towers too since 0.30 (model_executor/offloader/uva.py supports_tower_offload)
    triton_mxfp4: bool  # Hopper runs MXFP4 experts by Triton's kernels since 0.12, whose wheels hold them (setup.py), by Marlin before (mxfp4.py)
    mxfp4_scales_kept: bool  # and keeps the scales as loaded beside those that it swizzles, until 0.24 (fused_moe/oracle/mxfp4.py)
    mxfp4_scale_columns: int  # what the swizzled ones are padded to: 4 since 0.26, 2 before (utils/mxfp4_utils.py, triton_kernels' hopper_scale.py)
    trtllm_width: int  # FlashInfer's MXFP4 experts on 10.x: a width in multiples of 256, 128 since 0.27 (fused_moe/oracle/mxfp4.py)
    lora_cuts_deltas: bool  # adapters of Qwen3.5's fused projections end in an IndexError where graphs are captured until 0.18 (models/qwen3_5.py)
    awq_by_kernel: bool  # AWQ takes whatever kernel is best, Machete on Hopper, since 0.19, Marlin before (awq_marlin.py)
    film_tables: int  # rotary tables of Qwen3-VL and later are as long as the positions of films, 4 times, until 0.31 (rotary_embedding/mrope.py)
    pools_counted_twice: (
        bool  # what kernels give back of a sleeping server's pool counts as torch's in 0.15 to 0.26 (vllm issues 37096, 40256), by the driver since
    )
    delta_tensor_maps: bool  # profiling runs a delta rule's kernels by tensor maps in 0.18 and 0.19, without since (layers/fla/ops/utils.py is_tma_supported)
    least_capability: int  # what the wheels hold kernels for: 7.5 since 0.20, which are built with CUDA 13 (vllm pull request 39878), 7.0 before


def _version(minor: int) -> Version:
    return Version(
        name=f"0.{minor}",
        minor=minor,
        graphs_reserved=minor >= 20,
        older_drivers=minor <= 13,
        graphs_estimated=minor >= 18,
        large_batches=minor >= 28,
        steps_in_flight=minor >= 26,
        null_block_reserved=minor >= 29,
        coarse_graphs=minor >= 12,
        state_checked=minor >= 20,
        quantizes_late=minor <= 15,
        workspace_kept=minor >= 14,
        outputs_padded=minor <= 12,
        gathers_in_workspace=minor >= 13,
        gathers_less=minor >= 32,
        prompt_logits_profiled=minor >= 19,
        lean_links=minor >= 27,
        lean_sampler=minor >= 17,
        times_fused_kernels=minor >= 12,
        flashinfer_fp8=minor >= 12,
        workspace_by_batch=minor >= 26,
        segments_kept=27 <= minor <= 30,
        flash_attention_e5m2=minor <= 21,
        turing_backend="FLEX_ATTENTION" if minor < 12 else "FLASHINFER" if minor < 24 else "",
        two_backends=minor >= 30,
        wide_head_blocks=minor >= 31,
        cutlass_mla=minor <= 14,
        sparse_flash_attention=minor >= 25,
        sparse_sm120=minor >= SPARSE_SM120,
        nvfp4_off_blackwell=minor >= NVFP4_OFF_BLACKWELL,
        blocks_refined=minor >= 29,
        merged_blocks_cut=minor >= 14,
        hybrid_prefix_caching=minor >= 28,
        blocks_within_batch=17 <= minor <= 26,
        prefill_checkpoints=tuple(alignment for alignment, since in ((16, 29), (1, 32), (64, 33)) if minor >= since),
        state_of_every_block=12 <= minor <= 27,
        tokens_by_groups=minor <= 20,
        whole_need_checked=14 <= minor <= 16,
        first_group_checked=14 <= minor <= 18,
        group_spread=1.5 if minor >= 18 else 1.25 if minor >= 12 else 1.0,
        pads_packed=minor <= 27,
        blocks_override_checked=minor >= 20,
        yarn_scales_length=minor <= 29,
        level_flag="--compilation-config.level" if minor < 12 else "--optimization-level",
        backend_by_environment=minor <= 15,
        offloads_towers=minor >= OFFLOADS_TOWERS,
        triton_mxfp4=minor >= 12,
        mxfp4_scales_kept=minor <= 24,
        mxfp4_scale_columns=4 if minor >= 26 else 2,
        trtllm_width=128 if minor >= 27 else 256,
        lora_cuts_deltas=minor <= 18,
        pools_counted_twice=15 <= minor <= 26,
        awq_by_kernel=minor >= 19,
        film_tables=4 if minor <= 31 else 1,
        delta_tensor_maps=minor in (18, 19),
        least_capability=75 if minor >= 20 else 70,
    )


VERSIONS = {version.name: version for version in map(_version, range(OLDEST, NEWEST + 1))}
OLDEST_VERSION, DEFAULT_VERSION = f"0.{OLDEST}", f"0.{NEWEST}"


def knows_method(name: str, version: str) -> bool:
    """Whether a release has a quantization method of that name, or may have it."""
    minor, (since, until) = VERSIONS[version].minor, METHODS.get(name, (NEWEST + 1, 0))
    return since <= minor <= until or is_unread_method(name, version)


def is_unread_method(name: str, version: str) -> bool:
    """Whether only the releases before or behind one that nobody read have a quantization method."""
    minor, (since, until) = VERSIONS[version].minor, METHODS.get(name, (NEWEST + 1, 0))
    return minor in UNREAD and (since == minor + 1 or until == minor - 1)


def minimum_capability(method: str | None, version: str) -> int:
    """The compute capability that a quantization method needs in a release (75 for 7.5); 0 for one that is not in the table."""
    minor = VERSIONS[version].minor
    return next((least for since, least in reversed(MINIMUM_CAPABILITY.get(method or "", ())) if minor >= since), 0)


# What the ROCm images hold kernels for, of any release here (docker/Dockerfile.rocm_base PYTORCH_ROCM_ARCH).
ROCM_GFX = ("gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1101", "gfx1150", "gfx1151", "gfx1200", "gfx1201")
LEAST_CAPABILITY = min(version.least_capability for version in VERSIONS.values())


def newest_for(capability: int) -> str | None:
    """The newest release whose wheels run on a GPU of this compute capability (75 for 7.5); None where none of those known here does."""
    return next((name for name, version in reversed(VERSIONS.items()) if capability >= version.least_capability), None)


_RELEASE = re.compile(r"(v?\d+\.\d+(\.\d+)?(\.?post\d+)?|latest|stable)([-+.](cu\d+|cpu|rocm[\d.]*|x86_64|aarch64|arm64|amd64|ubuntu[\d.]*))*")


def is_release(text: str) -> bool:
    """Whether a version or an image's tag names a release as it was published; a nightly build, a candidate and somebody's own change what it refuses."""
    return _RELEASE.fullmatch(text.strip()) is not None


def is_before(text: str, release: tuple[int, int]) -> bool:
    """Whether a version's text names an earlier release than 0.minor.patch; false where it tells none."""
    match = re.match(r"v?0\.(\d+)(?:\.(\d+))?", text.strip())
    return match is not None and "dev" not in text and (int(match[1]), int(match[2] or 0)) < release


def is_after(text: str) -> bool:
    """Whether a version's text names a later release than the newest that is known here; false where it tells none."""
    match = re.match(r"v?(\d+)\.(\d+)", text.strip())
    return match is not None and (int(match[1]), int(match[2])) > (0, NEWEST)


COMMITS_BEHIND = 100  # GUESS: of about 600 between two minor releases


def nearest_version(text: str) -> Version:
    """The known release nearest to "0.19.1" or "v0.20.2rc1.dev3"; the newest where there is no number.

    "0.1.dev19754" is what a build of a checkout without tags calls itself: no number either. Many commits behind a patch release the code is that of the
    next minor one, whose branch is cut there: 0.19.2rc1.dev134 set graphs aside as 0.20 does (public logs of 2026-05).
    """
    match = re.match(r"v?(\d+)\.(\d+)", text.strip())
    if not match or re.match(r"v?0\.[01](\.\d+)?\.?dev", text.strip()):
        return VERSIONS[DEFAULT_VERSION]
    later = re.match(r"v?0\.\d+\.[1-9]\d{0,3}(rc\d{1,3})?\.dev(\d{1,6})", text.strip())
    behind = int(later is not None and int(later[2]) >= COMMITS_BEHIND)
    minor = NEWEST if int(match[1]) > 0 else min(NEWEST, max(OLDEST, int(match[2]) + behind))
    return VERSIONS[f"0.{minor}"]
