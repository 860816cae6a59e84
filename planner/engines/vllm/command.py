"""`vllm serve` argv from settings, and back: an inverse pair. Reading takes any command, also one that we did not write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from planner.engines.vllm.parsers import chat_words
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.versions import DEFAULT_VERSION
from planner.facts.model import ChatFormat
from planner.units import parse_count

_BOOLEAN = {"--enforce-eager": "enforce_eager", "--enable-expert-parallel": "enable_expert_parallel", "--skip-mm-profiling": "skip_mm_profiling"}
_INTEGER = {
    "--tensor-parallel-size": "tensor_parallel_size",
    "--pipeline-parallel-size": "pipeline_parallel_size",
    "--max-model-len": "max_model_len",
    "--max-num-seqs": "max_num_seqs",
    "--max-num-batched-tokens": "max_num_batched_tokens",
    "--kv-cache-memory-bytes": "kv_cache_memory_bytes",
    "--max-cudagraph-capture-size": "max_cudagraph_capture_size",
}
_TEXT = {"--kv-cache-dtype": "kv_cache_dtype", "--dtype": "dtype", "--quantization": "quantization"}
_UTILIZATION = "--gpu-memory-utilization"
AUTO_LENGTH = ("auto", "-1")  # --max-model-len: the longest that fits


def serve_argv(
    repo: str,
    served_name: str,
    config: ServeConfig,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    pooling: bool = False,
    chat: ChatFormat | None = None,
) -> tuple[str, ...]:
    """The exact command; batch and sequence limits are always there, because their defaults depend on the GPU."""
    argv = ["vllm", "serve", repo, "--served-model-name", served_name, "--host", host, "--port", str(port)]
    if pooling:
        argv += ["--runner", "pooling"]
    return (*argv, *setting_words(config), *(chat_words(chat, config.vllm_version) if chat and not pooling else ()))


def setting_words(config: ServeConfig) -> list[str]:
    """The settings as flags with their values."""
    words = ["--tensor-parallel-size", str(config.tensor_parallel_size)]
    if config.pipeline_parallel_size > 1:
        words += ["--pipeline-parallel-size", str(config.pipeline_parallel_size)]
    words += ["--max-model-len", str(config.max_model_len), _UTILIZATION, f"{config.gpu_memory_utilization:g}"]
    words += ["--max-num-seqs", str(config.max_num_seqs), "--max-num-batched-tokens", str(config.max_num_batched_tokens)]
    if config.kv_cache_dtype != "auto":
        words += ["--kv-cache-dtype", config.kv_cache_dtype]
    if config.kv_cache_memory_bytes is not None:
        words += ["--kv-cache-memory-bytes", str(config.kv_cache_memory_bytes)]
    if config.max_cudagraph_capture_size is not None:
        words += ["--max-cudagraph-capture-size", str(config.max_cudagraph_capture_size)]
    if config.dtype != "auto":
        words += ["--dtype", config.dtype]
    if config.quantization is not None:
        words += ["--quantization", config.quantization]
    return words + [flag for flag, name in _BOOLEAN.items() if getattr(config, name)]


class BadValueError(ValueError):
    """A value that vLLM refuses; the message names its flag."""


def _number(text: str, read: Callable[[str], float]) -> float:
    try:
        return read(text)
    except ValueError:
        raise BadValueError("expected a number") from None


def _json(text: str) -> Mapping[str, object]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise BadValueError("expected a JSON object") from None
    return data if isinstance(data, dict) else {}


def read_settings(values: Mapping[str, str | bool], defaults: ServeConfig) -> tuple[ServeConfig, dict[str, str]]:
    """The settings among a command's flags over `defaults`, and why a value is refused, by flag."""
    found: dict[str, object] = {}
    faults: dict[str, str] = {}
    for flag, value in values.items():
        try:
            found |= _setting(flag, value)
        except BadValueError as error:
            faults[flag] = f"{flag} is {value!r}: {error}"
    return replace(defaults, **found), faults  # type: ignore[arg-type]


def _setting(flag: str, value: str | bool) -> dict[str, object]:
    text = str(value)
    if flag in _BOOLEAN:
        return {_BOOLEAN[flag]: bool(value)}
    if flag == "--max-model-len" and text in AUTO_LENGTH:
        return {}
    if flag in _INTEGER:
        number = int(_number(text, parse_count))
        if number < 1 and flag != "--max-cudagraph-capture-size":
            raise BadValueError("expected a number above 0")
        return {_INTEGER[flag]: number}
    if flag == _UTILIZATION:
        share = _number(text, float)
        if not 0 < share <= 1:
            raise BadValueError("expected a share above 0 and at most 1")
        return {"gpu_memory_utilization": share}
    if flag in _TEXT:
        return {_TEXT[flag]: text}
    return _indirect(flag, value)


def _indirect(flag: str, value: str | bool) -> dict[str, object]:
    """Flags that mean a setting without naming it."""
    text = str(value)
    if flag == "--language-model-only":
        return {"skip_mm_profiling": bool(value)}
    if flag == "--limit-mm-per-prompt" and text.startswith("{"):
        limits = _json(text).values()
        return {"skip_mm_profiling": True} if limits and all(limit == 0 for limit in limits) else {}
    if flag == "--optimization-level" and text == "0":
        return {"max_cudagraph_capture_size": 0}
    if flag == "--cudagraph-capture-sizes":
        return {"max_cudagraph_capture_size": max((int(_number(part, parse_count)) for part in text.split()), default=0)}
    if flag == "--compilation-config" and text.startswith("{"):
        return _graphs(_json(text))
    return {}


def _graphs(data: Mapping[str, object]) -> dict[str, object]:
    sizes = data.get("cudagraph_capture_sizes")
    if str(data.get("cudagraph_mode", "")).upper() == "NONE" or sizes == []:
        return {"max_cudagraph_capture_size": 0}
    if isinstance(sizes, list) and all(isinstance(size, int) for size in sizes):
        return {"max_cudagraph_capture_size": max(sizes)}
    largest = data.get("max_cudagraph_capture_size")
    return {"max_cudagraph_capture_size": largest} if isinstance(largest, int) else {}


def parse_argv(argv: tuple[str, ...]) -> ServeConfig:
    """The settings of a `vllm serve MODEL …` command, defaults where it says nothing. Raises ValueError for what vLLM does not take."""
    from planner.engines.vllm.flags import parse_flags  # and argparse: no plan needs them

    values, _, faults = parse_flags(argv[2:], DEFAULT_VERSION)
    config, refused = read_settings(values, ServeConfig())
    problems = [fault.message for fault in faults] + list(refused.values())
    if problems:
        raise ValueError("; ".join(problems))
    return config
