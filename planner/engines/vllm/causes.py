"""Why servers fail to start, by the messages they write, and what those messages say of settings and of what would fit.

Messages: vLLM 0.8 to 0.33 (v1/worker/utils.py request_memory, v1/core/kv_cache_utils.py, config/, utils/), huggingface_hub, PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from planner.engines.causes import KILLED
from planner.facts.observed import Cause
from planner.text import redact

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_WORKER = re.compile(r"\((?:Worker|VllmWorker|EngineCore|RayWorkerWrapper)\w*[ =-]?[^)]{0,40}\)")
_LOGGER = re.compile(r"^.{0,400}?\b(?:ERROR|CRITICAL)\b[^\]]{0,80}\]\s*")


# Messages and what they mean, most telling first; each is looked for in lines that report an error.
CAUSES: tuple[tuple[str, str], ...] = (
    ("free-memory", r"Free memory on device .{0,80}is less than desired GPU memory utilization|Error in memory profiling\. Initial free memory"),
    ("no-kv-memory", r"No available memory for the cache blocks"),
    ("kv-cache-too-small", r"To serve at least one request with the models?'?s? max seq len|exceeds available Mamba cache blocks"),
    ("kv-cache-too-small", r"larger than the maximum number of tokens that can be stored in KV cache|Cannot auto-fit max_model_len"),
    ("out-of-memory", r"OutOfMemoryError|CUDA out of memory|CUDA error: out of memory|HIP out of memory|CUBLAS_STATUS_ALLOC_FAILED|failed with OOM"),
    ("not-divisible", r"is not divisible by|must be divisible by|cannot be divided|not aligned with the quantized weight shape"),
    ("unsupported", r"not supported for the current GPU|only supported on GPUs with compute capability|requires SM\d+|no kernel image is available"),
    ("unsupported", r"kernel does not support current device|No \w{1,20} MoE backend supports the deployment configuration"),
    ("unsupported", r"No valid attention backend|not supported by any attention|Unknown quantization method|Model architectures? .{0,200}not supported"),
    (
        "unsupported",
        r"KV cache is not supported|Failed to find a kernel that can implement|does not recognize this architecture|Cannot find the config file for",
    ),
    ("unknown-flag", r"error: unrecognized arguments"),
    (
        "toolchain",
        r"Could not find nvcc|nvcc.{0,30}not found|Failed to find C compiler|[Nn]inja.{0,40}(?:not found|required|unavailable)|Python\.h: No such file"
        r"|No such file or directory: '(?:ninja|nvcc|gcc)'|\['ninja'|Ninja build failed|Error building extension",
    ),
    ("no-gpu", r"Failed to infer device type|could not select device driver|No CUDA GPUs are available|no NVIDIA driver on your system|libcuda\.so\.1: cannot"),
    ("disk-full", r"No space left on device|Not enough free disk space"),
    ("refused-request", r"tool choice requires --enable-auto-tool-choice|maximum context length is \d{1,9} tokens|maximum model length of \d{1,9}\b"),
    ("port-in-use", r"[Aa]ddress already in use"),
    ("model-access", r"GatedRepoError|Cannot access gated repo|RepositoryNotFoundError|40[13] Client Error|404 Client Error|Too Many Requests"),
    ("model-access", r"public gated repositories|Access to model .{1,200} is restricted|You are trying to access a gated repo|HfHubHTTPError"),
    ("model-access", r"couldn't connect to|LocalEntryNotFoundError|is not a valid model identifier|Can't load the configuration|Invalid repository ID"),
    ("out-of-memory", KILLED),
    ("bad-value", r"validation errors? for|User-specified max_model_len|error: argument|invalid choice|must be (?:in|between|greater|less|at least)"),
)
_CAUSES = tuple((code, re.compile(pattern)) for code, pattern in CAUSES)
_EXCEPTION = re.compile(r"(?:^|\s)((?:[A-Za-z_][\w.]{0,200})?(?:Error|Exception|Interrupt)): (.+)")
_SECONDARY = re.compile(r"Engine core initialization failed|WorkerProc initialization failed|Engine process failed|Worker failed with error|EngineDeadError")
_REPORTS = re.compile(r"Error\b|Exception\b|[Ee]rror: |\bERROR\b|Value error,")
_CODE = re.compile(r"(?:raise|assert|File|return|self|if|for|with|await|def|except|from|import)\b|[\w.]+\(|\^|~")


def plain(line: str) -> str:
    """A line without colours."""
    return _COLOUR.sub("", line)


def message(text: str) -> str:
    """The sentence without prefixes of containers, processes and the logger."""
    text = _LOGGER.sub("", text)
    text = _WORKER.sub("", text)
    return redact(re.sub(r"^(?:\(APIServer pid=\d{1,12}\)\s*)+", "", text.strip()).strip()[:600])


def cause_of(text: str, *, reported: bool = True) -> tuple[int, Cause] | None:
    """What a line says went wrong, and its rank (0 is most telling); where `reported`, only if the line reports an error.

    A traceback quotes source that holds a message's text: code is no message.
    """
    said = message(text)
    if _CODE.match(said) or (reported and not _REPORTS.search(text)):
        return None
    for rank, (code, pattern) in enumerate(_CAUSES):
        if pattern.search(text):
            return rank, Cause(code, said)
    return None


def exception_of(text: str) -> Cause | None:
    """An error that no rule knows; what only says that another process failed is none."""
    return None if _EXCEPTION.search(text) is None or is_secondary(text) else Cause("other", message(text))


def is_secondary(text: str) -> bool:
    """Whether a line says only that another process failed, whose own words stand above it."""
    return _SECONDARY.search(text) is not None and not _CODE.match(message(text))


# What a message says of the command's settings: pattern, setting, how to read it.
_TOLD: tuple[tuple[re.Pattern[str], str, Callable[[str], object]], ...] = (
    (re.compile(r"desired GPU memory utilization \(([\d.]{1,8}),"), "gpu_memory_utilization", float),
    (re.compile(r"max seq len \((\d{1,12})\)"), "max_model_len", int),
    (re.compile(r"User-specified max_model_len \((\d{1,12})\)"), "max_model_len", int),
    (re.compile(r"divisible by (?:tensor parallel size \()?(\d{1,2})\b"), "tensor_parallel_size", int),
)


def settings_told(text: str) -> dict[str, object]:
    """Settings of the command that a message repeats."""
    return {name: read(match[1]) for pattern, name, read in _TOLD if (match := pattern.search(text))}
