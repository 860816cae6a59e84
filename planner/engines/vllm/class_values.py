"""Values that vLLM's parser takes and its configuration classes do not, in their words.

Read in vLLM 0.33: config/observability.py, config/mamba.py, config/model.py, config/vllm.py, engine/arg_utils.py create_engine_config, logger.py. What is
asked of a release before it is what that release has the flag for, or stands beside the check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise

from planner.engines.vllm.engine_args import EngineArgs, Refused

READ = 33
"""The release whose classes were read; a check that an earlier one may lack is not asked of it."""
_OBJECTS = ("--custom-histogram-buckets", "--media-io-kwargs", "--mm-processor-kwargs", "--override-generation-config", "--model-class-overrides")
_FAMILIES = (  # v1/metrics/buckets.py BUCKET_FAMILY_KEYS
    "request_latency",
    "time_to_first_token",
    "inter_token_latency",
    "iteration_tokens",
    "request_params_n",
    "request_num_preemptions",
    "request_tokens",
    "kv_cache_residency",
)
_MAMBA = ("TRITON", "FLASHINFER", "CPU")
_LEVELS = ("0", "1", "2", "3")
_VERSION = re.compile(  # of Python's packages: PEP 440
    r"\s*v?(\d+!)?\d+(\.\d+)*([-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?\d*)?(-\d+|[-_.]?(post|rev|r)[-_.]?\d*)?([-_.]?dev[-_.]?\d*)?(\+[a-z0-9]+([-_.][a-z0-9]+)*)?\s*",
    re.IGNORECASE,
)
_REPLAYS = ("NemotronHForCausalLM", "NemotronHPuzzleForCausalLM", "KimiLinearForCausalLM", "KimiK3ForConditionalGeneration")  # SupportsReplaySSM


def classes(asked: EngineArgs) -> Refused:
    """What the classes refuse of single values, and of values that one class holds together."""
    yield from _objects(asked)
    yield from _observed(asked)
    yield from _mamba(asked)
    yield from _parallel(asked)
    level = _known(asked, "--optimization-level")
    if level is not None and level.strip() not in _LEVELS:
        yield f"optimization_level: Input should be 0, 1, 2 or 3, not {level[:60]!r}", "--optimization-level 2"
    largest = asked.key("--compilation-config", "max_cudagraph_capture_size")
    if asked.minor >= READ and asked.captures and isinstance(largest, int) and largest < 1:
        yield "Maximum cudagraph size should be greater than or equal to 1 when using cuda graph.", "--enforce-eager"


def _known(asked: EngineArgs, flag: str) -> str | None:
    """What a flag says; None where it is silent or only a shell knows."""
    text = asked.values.get(flag)
    return text if isinstance(text, str) and "$" not in text and "`" not in text else None


def _objects(asked: EngineArgs) -> Refused:
    """JSON that is no object, or holds none where one belongs."""
    for flag in _OBJECTS:
        try:
            data = json.loads(_known(asked, flag) or "{}")
        except (ValueError, RecursionError):
            continue
        name = flag[2:].replace("-", "_")
        if not isinstance(data, dict) and not (data is None and flag == "--media-io-kwargs"):
            yield f"{name}: Input should be a valid dictionary", f"{flag} '{{}}'"
        elif flag == "--media-io-kwargs" and isinstance(data, dict):
            for kind, value in data.items():
                if not isinstance(value, dict):
                    yield f"{name}.{kind[:60]}: Input should be a valid dictionary", f"an object of {kind[:60]}"
        elif flag == "--custom-histogram-buckets" and isinstance(data, dict):
            yield from _buckets(name, data)
    more = _known(asked, "--additional-config")  # read as text where no braces enclose it
    if asked.minor >= READ and more is not None and not re.match(r"\s*{", more):
        yield "additional_config: Input should be a valid dictionary", "--additional-config '{}'"


def _buckets(name: str, data: Mapping[str, object]) -> Refused:
    for family, bounds in data.items():
        where = f"{name}[{family[:60]!r}]"
        if family not in _FAMILIES:
            yield f"{name}: unknown bucket family {family[:60]!r}; known families: {sorted(_FAMILIES)}", "one of them"
        elif not isinstance(bounds, list) or not bounds:
            yield f"{where}: bucket list must not be empty", "a list of numbers"
        elif any(isinstance(bound, bool) or not isinstance(bound, int | float) or bound <= 0 for bound in bounds):
            yield f"{where}: bounds must be finite and greater than 0", "positive numbers"
        elif any(low >= high for low, high in pairwise(bounds)):
            yield f"{where}: bounds {bounds[:10]} must be strictly increasing", "in order"


def _observed(asked: EngineArgs) -> Refused:
    """ObservabilityConfig."""
    version = _known(asked, "--show-hidden-metrics-for-version")
    if version is not None and not _VERSION.fullmatch(version):
        yield f"show_hidden_metrics_for_version: Invalid version: {version[:60]!r}", "--show-hidden-metrics-for-version 0.32"
    if asked.values.get("--collect-detailed-traces") and "--otlp-traces-endpoint" not in asked.values:
        yield "collect_detailed_traces requires `--otlp-traces-endpoint` to be set.", "add --otlp-traces-endpoint"


def _mamba(asked: EngineArgs) -> Refused:
    """Kernels of states (config/mamba.py, config/vllm.py validate_mamba_cached_kernel)."""
    named = _known(asked, "--mamba-backend")
    backend = (named or "triton").upper()
    if backend not in _MAMBA:
        yield f"Unknown Mamba SSU backend: {backend[:60]!r}. Valid options are: {', '.join(_MAMBA)}", "--mamba-backend triton"
    elif "--mamba-ssu-algorithm" in asked.values and backend != "FLASHINFER" and asked.minor >= READ:
        what = "Mamba SSU algorithm selection is only supported with the FlashInfer backend."
        yield f"{what} Please set `--mamba-backend flashinfer`, or omit `--mamba-ssu-algorithm`.", "--mamba-backend flashinfer"
    if asked.minor < READ:
        return
    if asked.values.get("--enable-mamba-cache-stochastic-rounding"):
        yield from _rounding(asked, backend)
    if asked.values.get("--use-replayssm") and asked.model.architecture not in _REPLAYS:
        yield f"--use-replayssm is not supported for architecture {asked.model.architecture!r}", "leave --use-replayssm out"


def _rounding(asked: EngineArgs, backend: str) -> Refused:
    flag = "--enable-mamba-cache-stochastic-rounding"
    if asked.gpu.vendor != "nvidia":
        yield f"Stochastic rounding for Mamba cache is only supported on NVIDIA CUDA platforms. Please do not specify `{flag}`.", f"leave {flag} out"
    elif asked.values.get("--mamba-ssm-cache-dtype") != "float16":
        needs = "Stochastic rounding for Mamba cache requires the SSM cache to be float16."
        yield f"{needs} Please set it explicitly, by specifying `--mamba-ssm-cache-dtype float16`", "--mamba-ssm-cache-dtype float16"
    elif backend == "TRITON" and asked.gpu.capability // 10 != 10:
        needs = "Stochastic rounding for Mamba cache with triton backend requires compute capability 10.0 (data center Blackwell)."
        yield needs, "--mamba-backend flashinfer"


def _parallel(asked: EngineArgs) -> Refused:
    """How replicas are started (engine/arg_utils.py)."""
    backend = _known(asked, "--data-parallel-backend")
    if backend is None or backend == "mp":
        return
    if (asked.number("--nnodes") or 1) > 1 and asked.minor >= READ:
        needs = f"`--nnodes {asked.number('--nnodes')}` requires `--data-parallel-backend mp`; got `--data-parallel-backend {backend[:60]}`."
        yield f"Invalid data-parallel launch options: {needs}", "--data-parallel-backend mp"
    elif backend != "ray" and "--data-parallel-address" not in asked.values:
        yield f"data_parallel_backend can only be ray or mp, got {backend[:60]}", "--data-parallel-backend mp"
