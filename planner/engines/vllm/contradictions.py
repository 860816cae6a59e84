"""Arguments that vLLM's configuration classes refuse of each other before a GPU is touched, in their words.

Sources: vLLM 0.33 engine/arg_utils.py create_engine_config, config/*.py (their validators and __post_init__); the releases beside each are the first
whose source has the check, of 0.11 to 0.33. What one argument may be by itself is in flags.json; parallel sizes are in parallel_rules.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from planner.engines.vllm.backend_names import name_problem
from planner.engines.vllm.class_values import classes
from planner.engines.vllm.dtype_rules import actual_dtype, dtypes
from planner.engines.vllm.engine_args import EngineArgs, Refused
from planner.engines.vllm.flag_values import beyond
from planner.engines.vllm.multimodal_rules import OF_PICTURES, inputs
from planner.engines.vllm.rules import unsaid_quantization
from planner.engines.vllm.settings_table import SETTINGS
from planner.engines.vllm.versions import VERSIONS
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts
from planner.facts.plan import Problem
from planner.facts.storage import Encoding

EXECUTORS = ("ray", "mp", "uni", "external_launcher")
MICROBATCHES = ("deepep_low_latency", "deepep_high_throughput", "nixl_ep")
_ROLES = ("kv_producer", "kv_both", "kv_consumer")


def contradictions(asked: EngineArgs) -> Iterator[Problem]:
    """What vLLM refuses of a command's arguments together."""
    for message, fix in (
        *_bounds(asked),
        *classes(asked),
        *_batches(asked),
        *_graphs(asked),
        *_twice(asked),
        *_backend(asked),
        *_adapters(asked),
        *_quantized(asked),
        *dtypes(asked),
        *_processes(asked),
        *_experts(asked),
        *_kernels(asked),
        *inputs(asked),
        *_outputs(asked),
        *_caches(asked),
    ):
        yield Problem(code="bad-value", message=message, fix=fix)


def _bounds(asked: EngineArgs) -> Refused:
    """Numbers out of the bounds of their configuration class, and lists that hold None; those of the ledger's settings are read with their own."""
    from planner.engines.vllm.flags import bounds_of, holds_nothing  # and argparse: no plan needs them

    own = {setting.flag for setting in SETTINGS} | (set() if asked.takes_pictures else set(OF_PICTURES))
    for flag, value in asked.values.items():
        bounds = bounds_of(flag, asked.config.vllm_version) if flag not in own else None
        if bounds and isinstance(value, str) and (limit := beyond(value, bounds)):
            yield f"{flag}: {limit}", f"correct {flag}"
        elif isinstance(value, str) and holds_nothing(flag, value):
            yield f"{flag}: Input should be a valid string", f"correct {flag}"


def _batches(asked: EngineArgs) -> Refused:
    """SchedulerConfig.verify_max_model_len."""
    config, length = asked.config, asked.config.max_model_len
    whole = config.enable_chunked_prefill is None and asked.model.is_encoder and not asked.model.has_state and asked.minor >= 33  # read in 0.33
    if (config.enable_chunked_prefill is False or whole) and config.max_num_batched_tokens < length:
        why = "This effectively limits the maximum sequence length to max_num_batched_tokens and makes vLLM reject longer sequences."
        message = f"max_num_batched_tokens ({config.max_num_batched_tokens}) is smaller than max_model_len ({length}). {why}"
        yield message, f"--max-num-batched-tokens {length}"
    active = asked.number("--max-num-active-seqs")
    if active is not None and active > config.max_num_seqs:
        yield f"max_num_active_seqs ({active}) cannot be greater than max_num_seqs ({config.max_num_seqs}).", f"--max-num-active-seqs {config.max_num_seqs}"
    long = asked.number("--long-prefill-token-threshold")
    if long is not None and long > length:
        yield f"long_prefill_token_threshold ({long}) cannot be greater than the max_model_len ({length}).", f"--long-prefill-token-threshold {length}"


def _graphs(asked: EngineArgs) -> Refused:
    """The captured sizes (config/vllm.py _set_cudagraph_sizes, since 0.12) and the custom operations (config/compilation.py)."""
    flag = asked.values.get("--cudagraph-capture-sizes")
    inner = asked.key("--compilation-config", "cudagraph_capture_sizes")
    sizes = [int(word) for word in flag.split() if word.isdigit()] if isinstance(flag, str) else inner
    said = asked.number("--max-cudagraph-capture-size")
    largest = asked.key("--compilation-config", "max_cudagraph_capture_size") if said is None else said
    if asked.minor >= 12 and asked.captures and isinstance(sizes, list):
        whole = [size for size in sizes if isinstance(size, int) and size <= asked.config.max_num_batched_tokens]
        if not sizes:
            yield "cudagraph_capture_sizes should contain at least one element when using cuda graph.", "--enforce-eager"
        elif isinstance(largest, int) and largest != max(whole, default=0):
            kept = max(whole, default=0)
            which = f"customized max_cudagraph_capture_size(={largest}) should be consistent with the max value of cudagraph_capture_sizes(={kept})"
            yield which, f"--max-cudagraph-capture-size {kept}"
    operations = asked.key("--compilation-config", "custom_ops")
    for operation in operations if isinstance(operations, list) else ():
        if isinstance(operation, str) and operation not in ("all", "none") and (len(operation) < 2 or operation[0] not in "+-"):
            meant = "must be 'all', 'none', '+op' or '-op' (where 'op' is the registered op name)"
            yield f"Invalid syntax '{operation[:60]}' for custom op, {meant}", f"+{operation[:60]}"
    if asked.minor >= 27 and isinstance(operations, list) and {"all", "none"} <= {str(operation) for operation in operations}:
        yield "custom_ops can contain only one base mode: 'all' or 'none'", "leave one out"


# Flags with a key of an object that means the same: first release that refuses both, and vLLM's names of them.
_TWICE = (
    ("--cudagraph-capture-sizes", "--compilation-config", "cudagraph_capture_sizes", 12),
    ("--max-cudagraph-capture-size", "--compilation-config", "max_cudagraph_capture_size", 12),
    ("--attention-backend", "--attention-config", "backend", 13),
    ("--enable-flashinfer-autotune", "--kernel-config", "enable_flashinfer_autotune", 16),
)


def _quantized(asked: EngineArgs) -> Refused:
    """Ways to quantize while loading that say nothing of how."""
    method, version = asked.values.get("--quantization"), asked.config.vllm_version
    keys = ("quantization_config_file", "quantization_config_dict_json", "quantization_config")
    said = any(asked.key("--hf-overrides", key) for key in keys) or (method == "online" and "--quantization-config" in asked.values)
    unsaid = None if said or not method else unsaid_quantization(str(method), asked.model.quantization, version)
    if unsaid:
        yield unsaid


def _twice(asked: EngineArgs) -> Refused:
    for flag, group, key, since in _TWICE:
        if asked.minor >= since and flag in asked.values and asked.key(group, key) is not None:
            names = f"{flag[2:].replace('-', '_')} and {group[2:].replace('-', '_')}.{key}"
            yield f"{names} are mutually exclusive", f"leave {flag} out"


def _backend(asked: EngineArgs) -> Refused:
    """A name that no attention backend of the release has (config/attention.py validate_backend_before)."""
    name = asked.config.attention_backend
    if name and "$" not in name and (problem := name_problem(name, asked.minor)):
        yield problem, "leave --attention-backend out" if "--attention-backend" in asked.values else "leave VLLM_ATTENTION_BACKEND out"


def _adapters(asked: EngineArgs) -> Refused:
    """Adapters that a release cannot warm up while it captures CUDA graphs."""
    config = asked.config
    if not config.enable_lora or not asked.captures or config.max_cudagraph_capture_size == 0:
        return
    from planner.engines.vllm.lora import needs_eager

    if needs_eager(asked.model.architecture, config.vllm_version):
        yield "IndexError: list index out of range, in set_lora of in_proj_qkvz: such adapters start without CUDA graphs only", "--enforce-eager"


def _processes(asked: EngineArgs) -> Refused:
    """Executors and the cores that they are bound to (config/parallel.py, v1/executor/abstract.py)."""
    values, executor = asked.values, str(asked.values.get("--distributed-executor-backend", "mp"))
    if executor not in EXECUTORS and "." not in executor:
        known = "Supported values are 'ray', 'mp' 'uni', 'external_launcher', custom Executor subclass or its import path."
        yield f"Unrecognized distributed executor backend {executor[:60]}. {known}", "--distributed-executor-backend mp"
    if executor == "uni" and asked.config.pipeline_parallel_size > 1:
        what = "Pipeline Parallelism without Ray distributed executor or multiprocessing executor or external launcher"
        yield f"{what} is not supported.", "--distributed-executor-backend mp"
    if values.get("--ray-workers-use-nsight") and executor != "ray":
        yield "Unable to use nsight profiling unless workers run with Ray.", "--distributed-executor-backend ray"
    bound = [flag for flag in ("--numa-bind-nodes", "--numa-bind-cpus") if flag in values]
    if bound and not values.get("--numa-bind"):
        yield "numa_bind_nodes and numa_bind_cpus require numa_bind=True.", "--numa-bind"
    if any(word.startswith("-") for word in str(values.get("--numa-bind-nodes", "")).split()):
        yield "numa_bind_nodes must contain non-negative integers.", "--numa-bind-nodes 0"
    for cores in str(values.get("--numa-bind-cpus", "")).split():
        pairs = [part.split("-") for part in cores.split(",") if re.fullmatch(r"\d+-\d+", part)]
        if any(int(first) > int(last) for first, last in pairs):
            yield f"numa_bind_cpus ranges must be ascending, but got '{cores[:60]}'.", "the lower core first"
    external = values.get("--data-parallel-external-lb") or "--data-parallel-rank" in values
    if values.get("--enable-fault-tolerance") and not external:
        needs = "Fault tolerance requires external load balancer mode (--data-parallel-external-lb or --data-parallel-rank)."
        yield f"{needs} Internal LB mode is not supported.", "--data-parallel-external-lb --data-parallel-rank 0"


def _experts(asked: EngineArgs) -> Refused:
    """Experts that move, batches that overlap, and what is told of routes (config/parallel.py, config/vllm.py)."""
    values, config = asked.values, asked.config
    if values.get("--enable-elastic-ep"):
        if not config.enable_eplb:
            yield "Elastic EP is only supported with enable_eplb=True.", "--enable-eplb"
        elif config.pipeline_parallel_size > 1:
            stages = config.pipeline_parallel_size
            yield f"Elastic EP is not supported with pipeline parallelism (pipeline_parallel_size={stages}).", "--pipeline-parallel-size 1"
    size = asked.key("--speculative-config", "draft_tensor_parallel_size")
    if isinstance(size, int) and asked.model.drafter and asked.model.drafter.model and size not in (1, config.tensor_parallel_size):
        other = "cannot be other value than 1 or target model tensor_parallel_size"
        yield f"speculative_draft_tensor_parallel_size={size} {other}", f"draft_tensor_parallel_size {config.tensor_parallel_size}"
    communicator = asked.key("--eplb-config", "communicator")
    if asked.minor >= 24 and communicator in ("torch_nccl", "pynccl") and asked.key("--eplb-config", "use_async") in (None, True):
        conflict = "is incompatible with async EPLB due to NCCL multi-stream conflicts."
        yield f"{communicator} communicator {conflict} Use 'torch_gloo' or 'nixl' instead, or leave communicator unset.", "leave communicator out"
    batches = 2 if values.get("--enable-dbo") else asked.number("--ubatch-size") or 1
    if batches > 1 and asked.gpu.vendor == "nvidia" and asked.minor >= 33 and config.all2all_backend not in MICROBATCHES:
        message = f"Microbatching currently only supports the {', '.join(MICROBATCHES)} all2all backends on this platform."
        yield f"{message} {config.all2all_backend} is not supported.", f"--all2all-backend {MICROBATCHES[0]}"
    thresholds = [asked.number(flag) for flag in ("--dbo-decode-token-threshold", "--dbo-prefill-token-threshold")]
    least = min((size for size in thresholds if size is not None), default=batches)
    if batches > 1 and asked.minor >= 30 and least < batches:
        message = "dbo_decode_token_threshold and dbo_prefill_token_threshold must be at least the number of microbatches"
        yield f"{message} ({batches}).", f"--dbo-decode-token-threshold {batches}"
    if values.get("--enable-return-routed-experts") and asked.minor >= 31:
        yield from _routes(asked)


_OWN_KERNELS = "VLLM_USE_FLASHINFER_MOE_FP4"


def _kernels(asked: EngineArgs) -> Refused:
    """0.15 has no FlashInfer kernel of NVFP4 experts on 12.x, and experts without a gate have no other (vllm pull request 33417, issues 33333 and 35065)."""
    if asked.minor != 15 or asked.gpu.capability // 10 != 12 or not _has_nvfp4_experts(asked.model):
        return
    if asked.env.get(_OWN_KERNELS, "0") not in ("0", "") or asked.model.architecture.startswith("NemotronH"):
        yield "NvFp4 MoE backend 'FLASHINFER_CUTLASS' does not support the deployment configuration: kernel does not support current device", "vLLM 0.16"


def _has_nvfp4_experts(model: ModelSpec) -> bool:
    modules = (module for group in model.layers for module in group.modules)
    return any(isinstance(module, Experts) and module.storage.encoding is Encoding.NVFP4 for module in modules)


def _routes(asked: EngineArgs) -> Refused:
    """VllmConfig._verify_aux_output_compatibility."""
    flag = "--enable-return-routed-experts"
    if asked.model.pooling:
        yield "AuxOutput Connector only supports generate runners.", f"leave {flag} out"
    elif not asked.model.experts_per_token:
        yield "AuxOutput Connector only supports MoE models.", f"leave {flag} out"
    elif asked.config.enable_prefix_caching is False:
        yield "AuxOutput Connector requires prefix caching.", "--enable-prefix-caching"
    elif asked.config.pipeline_parallel_size > 1:
        yield f"{flag} is incompatible with pipeline parallelism (PP > 1).", "--pipeline-parallel-size 1"
    elif asked.config.decode_context_parallel_size > 1 or asked.config.prefill_context_parallel_size > 1:
        yield f"{flag} is incompatible with context parallelism (DCP/PCP > 1).", "--decode-context-parallel-size 1"


def _outputs(asked: EngineArgs) -> Refused:
    """Sampling and what is told of it (config/vllm.py)."""
    values, config = asked.values, asked.config
    if values.get("--per-request-spec-decode-metrics", "none") != "none" and not asked.model.drafter and not config.speculative_config:
        needs = "requires speculative decoding to be enabled (via --speculative-config)."
        yield f"--per-request-spec-decode-metrics {needs}", "leave --per-request-spec-decode-metrics out"
    masks = values.get("--return-sampling-mask")
    if masks and values.get("--logprobs-mode", "raw_logprobs") != "processed_logprobs":
        yield "sampling distribution replay requires logprobs_mode='processed_logprobs'", "--logprobs-mode processed_logprobs"
    if values.get("--enable-batch-sharded-sampling"):
        tp = config.tensor_parallel_size
        blockers = {
            "tensor_parallel_size is 1, so there is nothing to shard": tp == 1,
            f"max_num_seqs ({config.max_num_seqs}) is below tensor_parallel_size ({tp})": tp > config.max_num_seqs,
            "max_logprobs is -1, allowing vocab-size logprob requests": asked.number("--max-logprobs") == -1,
            "return_sampling_mask is set and the batch-sharded gather does not forward sampling masks": bool(masks),
        }
        if told := [reason for reason, holds in blockers.items() if holds]:
            flag = "--enable-batch-sharded-sampling"
            where = f"Batch-sharded sampling was explicitly enabled via the {flag} flag, but is not supported in this configuration"
            yield f"{where} for the following reason(s): {'; '.join(told)}.", f"leave {flag} out"
    platform = {"flashkda": ("nvidia", "CUDA"), "fused": ("amd", "ROCm")}.get(str(values.get("--kda-prefill-backend")))
    if platform and platform[0] != asked.gpu.vendor:
        yield f"--kda-prefill-backend={values['--kda-prefill-backend']} is only available on {platform[1]}.", "leave --kda-prefill-backend out"


def _caches(asked: EngineArgs) -> Refused:
    """The cache's dtype, states kept for prefixes, and connectors (config/vllm.py, config/kv_transfer.py)."""
    config, asked_for = asked.config, str(asked.values.get("--kv-cache-dtype", "auto"))
    dtype = actual_dtype(asked)
    if asked_for in ("float16", "bfloat16") and asked_for != dtype and asked.minor >= 33 and dtype in ("float16", "bfloat16", "float32"):
        allowed = f"`auto` or `{dtype}`" if dtype != "float32" else "`auto`"
        message = f'kv_cache_dtype="{asked_for}" is incompatible with dtype="{dtype}". Please set `--kv-cache-dtype` to {allowed}.'
        yield message, "--kv-cache-dtype auto"
    prefixes = config.enable_prefix_caching or (config.enable_prefix_caching is None and VERSIONS[config.vllm_version].hybrid_prefix_caching)
    if asked.model.has_state and config.enable_chunked_prefill is False and prefixes and asked.minor >= 16:
        yield "Chunked prefill is required for Mamba prefix caching.", "--no-enable-prefix-caching"
    states = asked.number("--mamba-block-size")
    hybrid_off = config.enable_prefix_caching is None and asked.model.has_state and not VERSIONS[config.vllm_version].hybrid_prefix_caching
    uncached = config.enable_prefix_caching is None and asked.model.is_encoder
    if states not in (None, config.max_model_len) and asked.minor >= 12 and (config.enable_prefix_caching is False or hybrid_off or uncached):
        yield "--mamba-block-size can only be set with --enable-prefix-caching", "--enable-prefix-caching"
    if asked.minor >= 30 and asked.key("--attention-config", "hisparse_config") is not None and not (asked.model.is_sparse or asked.model.is_compressed):
        yield "HiSparse is only supported for DSA models with index_topk.", "leave hisparse_config out"
    connector, role = (asked.key("--kv-transfer-config", key) for key in ("kv_connector", "kv_role"))
    if role is not None and role not in _ROLES:
        yield f"Unsupported kv_role: {str(role)[:60]}. Supported roles are {', '.join(_ROLES)}", "kv_role kv_both"
    elif connector is not None and role is None:
        yield f"Please specify kv_role when kv_connector is set, supported roles are {', '.join(_ROLES)}", "kv_role kv_both"
    elif role is not None and connector is None:
        yield "Connector name is not set in KVTransferConfig", "a kv_connector"
