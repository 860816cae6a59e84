"""`vllm serve` argv from settings, and back: an inverse pair. Reading takes any command, also one that we did not write."""

from __future__ import annotations

import json
from collections.abc import Mapping

from planner.engines.vllm.parsers import chat_words
from planner.engines.vllm.settings import COMMAND, ServeConfig, with_settings
from planner.engines.vllm.settings_table import SETTINGS
from planner.engines.vllm.speculation import FLAG, FLAGS, read, said
from planner.engines.vllm.versions import DEFAULT_VERSION
from planner.errors import BadValueError
from planner.facts.model import ChatFormat
from planner.facts.settings import Value, command_words, number_in, read_flags
from planner.units import parse_count


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
    return (*argv, *command_words(COMMAND, config), *(chat_words(chat, config.vllm_version) if chat and not pooling else ()))


def _json(text: str) -> Mapping[str, object]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise BadValueError("expected a JSON object") from None
    return data if isinstance(data, dict) else {}


def read_settings(values: Mapping[str, str | bool], defaults: ServeConfig) -> tuple[ServeConfig, dict[str, str]]:
    """The settings among a command's flags over `defaults`, and why a value is refused, by flag."""
    settings, faults = settings_said(values)
    return with_settings(defaults, settings), faults


def settings_said(values: Mapping[str, str | bool]) -> tuple[dict[str, Value], dict[str, str]]:
    """The settings that a command's flags say, by name, and why a value is refused, by flag."""
    try:
        told = said(values)
        if text := told.get(FLAG):
            read(str(text))
    except BadValueError as error:
        return read_flags(SETTINGS, {flag: value for flag, value in values.items() if flag not in FLAGS}, parse_count, _indirect)[0], {FLAG: f"{FLAG}: {error}"}
    return read_flags(SETTINGS, told, parse_count, _indirect)


# Flags that mean a setting without naming it, and keys of --compilation-config that do.
_INDIRECT = (
    "--enable-multimodal-encoder-data-parallel",
    "--language-model-only",
    "--limit-mm-per-prompt",
    "--optimization-level",
    "--cudagraph-capture-sizes",
    "--compilation-config",
)
_GRAPH_KEYS = ("cudagraph_mode", "cudagraph_capture_sizes", "max_cudagraph_capture_size")
_OF_THE_MODEL = ("--runner", "--convert", "--task", "--hf-overrides", "--rope-scaling", "--rope-theta", "--mm-processor-kwargs")  # served.py, pictures.py
READ = frozenset((*FLAGS, *_OF_THE_MODEL, *(setting.flag for setting in SETTINGS), *_INDIRECT, *(f"--compilation-config.{key}" for key in _GRAPH_KEYS)))
"""The flags that the ledger holds."""


def _indirect(flag: str, value: str | bool) -> dict[str, Value]:
    """Flags that mean a setting without naming it."""
    text = str(value)
    if flag == "--enable-multimodal-encoder-data-parallel":  # until 0.11
        return {"mm_encoder_tp_mode": "data"} if value else {}
    if flag == "--language-model-only":
        return {"skip_mm_profiling": bool(value)}
    if flag == "--optimization-level" and text == "0":
        return {"max_cudagraph_capture_size": 0, "times_kernels": False}
    if flag == "--cudagraph-capture-sizes":
        return {"max_cudagraph_capture_size": max((int(number_in(part, parse_count)) for part in text.split()), default=0)}
    if flag == "--compilation-config" and text.startswith("{"):
        return _graphs(_json(text)) | _compiling(_json(text))
    return {}


def _compiling(data: Mapping[str, object]) -> dict[str, Value]:
    """Whether the kernels that Inductor fuses are timed: it has no work without a mode, and keys of its own leave vLLM's out (config/compilation.py)."""
    own = data.get("inductor_compile_config")
    none = str(data.get("mode", "")).upper() in ("0", "NONE") or data.get("level") == 0 or data.get("backend") == "eager" or data.get("use_inductor") is False
    said = isinstance(own, dict) and ("combo_kernels" in own or "benchmark_combo_kernel" in own)
    return {"times_kernels": False} if none or said else {}


def _graphs(data: Mapping[str, object]) -> dict[str, Value]:
    sizes = data.get("cudagraph_capture_sizes")
    without = data.get("level", 3) != 3  # of 0.11: graphs are captured of what level 3 compiles (config/vllm.py)
    if str(data.get("cudagraph_mode", "")).upper() == "NONE" or sizes == [] or without:
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
