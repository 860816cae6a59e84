"""A vLLM server log -> what really happened: command, version, every component of the ledger, or the first error that matters.

Lines are read one at a time and nothing is kept but what was found, so a log of gigabytes takes no memory. Formats: vLLM 0.8 to 0.33
(v1/worker/gpu_worker.py, gpu_model_runner.py, v1/core/kv_cache_utils.py, utils/mem_utils.py of each release).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from planner.engines.vllm.causes import cause_of, exception_of, is_secondary, message, plain, settings_told
from planner.engines.vllm.rules import default_batches
from planner.engines.vllm.settings import COMMAND
from planner.engines.vllm.versions import VERSIONS, nearest_version
from planner.facts.command_line import flag_of
from planner.facts.observed import Cause, Observed
from planner.units import GIB

MAX_LINE = 20_000  # longer ones (dumped configurations) are cut
_QUIET = re.compile(r"\b(?:DEBUG|INFO|WARNING|TRACE)\b[ :]\s*(?:\d|\[|\s)")


def _gib(text: str) -> int:
    return int(float(text) * GIB)


def _count(text: str) -> int:
    return int(text.replace(",", "").replace("_", ""))


_NUMBER = r"(-?\d{1,9}(?:\.\d{0,20})?)"
_FIELDS: tuple[tuple[str, re.Pattern[str], Callable[[str], object]], ...] = (
    ("version", re.compile(r"vLLM (?:API server |server )?version (v?\d[\w.+-]*)"), str),
    ("version", re.compile(r"Initializing (?:a|an) (?:V1 )?LLM engine \(v(\d[\w.+-]*)\)"), str),
    ("version", re.compile(r"\bversion (\d+\.\d+\.\d+[\w.+-]*)\s*$"), str),
    ("model", re.compile(r"LLM engine .{0,60}with config: model='([^']+)'"), str),
    ("model", re.compile(r"vLLM server version \S+, serving model (\S+)"), str),
    ("max_num_batched_tokens", re.compile(r"Chunked prefill is enabled with max_num_batched_tokens=(\d{1,12})"), int),
    ("gpu", re.compile(r"device_name=([A-Za-z0-9_.-]+?)(?:,|\.json|\s|$)"), str),
    ("total_bytes", re.compile(rf"total_memory={_NUMBER}\s?GiB"), _gib),
    ("free_at_start_bytes", re.compile(rf"free_memory={_NUMBER}\s?GiB"), _gib),
    ("free_at_start_bytes", re.compile(rf"Initial free memory:? {_NUMBER} GiB"), _gib),
    ("weights_bytes", re.compile(rf"Model loading took {_NUMBER} (?:GiB|GB)"), _gib),
    ("weights_bytes", re.compile(rf"weights memory: {_NUMBER}GiB"), _gib),
    ("weights_bytes", re.compile(rf"Actual usage is {_NUMBER} GiB for weight,"), _gib),
    ("weights_bytes", re.compile(rf"model weights take {_NUMBER}GiB"), _gib),
    ("activation_bytes", re.compile(rf"torch peak memory increase: {_NUMBER}GiB"), _gib),
    ("activation_bytes", re.compile(rf"PyTorch activation peak memory takes {_NUMBER}GiB"), _gib),
    ("activation_bytes", re.compile(rf"{_NUMBER} GiB for peak activation"), _gib),
    ("non_torch_bytes", re.compile(rf"non-torch forward increase memory: {_NUMBER}GiB"), _gib),
    ("non_torch_bytes", re.compile(rf"non_torch_memory takes {_NUMBER}GiB"), _gib),
    ("non_torch_bytes", re.compile(rf"{_NUMBER} GiB for non-torch memory"), _gib),
    ("consumed_bytes", re.compile(rf"total consumed \(from mem_get_info\): {_NUMBER}GiB"), _gib),
    ("consumed_bytes", re.compile(rf"Actual usage is {_NUMBER} GiB for consumed memory"), _gib),
    ("estimated_graph_bytes", re.compile(rf"Estimated CUDA graph memory: {_NUMBER} GiB"), _gib),
    ("cuda_graph_bytes", re.compile(rf"Graph capturing finished in .{{1,20}} secs?, took {_NUMBER} GiB"), _gib),
    ("kv_cache_bytes", re.compile(rf"Available KV cache memory: {_NUMBER} GiB"), _gib),
    ("kv_cache_bytes", re.compile(rf"the rest of the memory reserved for KV Cache is {_NUMBER}GiB"), _gib),
    ("kv_cache_tokens", re.compile(r"GPU KV cache size: (\d[\d,]{0,18}) tokens"), _count),
    ("max_concurrency", re.compile(r"Maximum concurrency for [\d,]+ tokens per request: (\d{1,12}(?:\.\d{0,9})?)x"), float),
)
_STARTED = re.compile(r"Application startup complete|Uvicorn running on|Starting vLLM (?:API )?server")
_TOTAL = re.compile(rf"\({_NUMBER}/{_NUMBER} GiB\) on startup")
_IS_VLLM = re.compile(r"\bvllm\b|\b(?:EngineCore|APIServer)\w* pid=|\b(?:gpu_worker|gpu_model_runner|kv_cache_utils)\.py:", re.IGNORECASE)


def read_log(lines: Iterable[str]) -> Observed:
    """Read a log from its first line to its last."""
    observed, is_vllm = Observed(), False
    fallback: Cause | None = None  # an error that no rule knows
    bare: Cause | None = None  # a known message without the words of an error before it, as people paste it
    secondary: Cause | None = None  # the word that another process failed
    ranked: tuple[int, Cause] | None = None
    for line in lines:
        text = plain(line[:MAX_LINE]).rstrip()
        is_vllm = is_vllm or bool(_IS_VLLM.search(text))
        _read_fields(observed, text)
        observed.started = observed.started or bool(_STARTED.search(text))
        if _QUIET.search(text[:200]):
            continue
        cause = cause_of(text)
        if cause and (ranked is None or ranked[0] > cause[0]) and (ranked is None or ranked[1].code == "bad-value"):
            ranked = cause
        elif cause is None:
            fallback = fallback or exception_of(text)
            bare = bare or (loose[1] if (loose := cause_of(text, reported=False)) else None)
            secondary = secondary or (Cause("other", message(text)) if is_secondary(text) else None)
    if not observed.started:
        unranked = (fallback, bare) if is_vllm else (bare, fallback)  # a whole log has harmless lines that look like messages
        observed.root_cause = ranked[1] if ranked else unranked[0] or unranked[1] or secondary
    if observed.root_cause:
        observed.flags = {**settings_told(observed.root_cause.message), **observed.flags}
    observed.engine = "vllm" if is_vllm else ""
    _complete(observed)
    return observed


def _read_fields(observed: Observed, text: str) -> None:
    for name, pattern, convert in _FIELDS:
        if getattr(observed, name) is None and (match := pattern.search(text)) and (value := next((g for g in match.groups() if g), None)):
            try:
                setattr(observed, name, convert(value))
            except ValueError:
                continue
    if match := _TOTAL.search(text):
        observed.free_at_start_bytes = observed.free_at_start_bytes or _gib(match[1])
        observed.total_bytes = observed.total_bytes or _gib(match[2])
    if not observed.flags:
        observed.flags = _flags(text)


def _flags(text: str) -> dict[str, object]:
    """The command's settings: a dictionary since 0.9, a Namespace of every argument before."""
    if match := re.search(r"non-default args: (\{.*\})", text):
        try:
            data = ast.literal_eval(match[1])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            data = dict(re.findall(r"'(\w+)': ('[^']*'|[\w.-]+)", match[1]))
            data = {key: value.strip("'") for key, value in data.items()}
        return data if isinstance(data, dict) else {}
    if "args: Namespace(" in text:
        pairs = re.findall(r"\b(\w{1,60})=('[^']*'|[\w.+-]+)", text)
        return {key: value.strip("'") for key, value in pairs if value not in ("None", "''")}
    return {}


def _complete(observed: Observed) -> None:
    """What follows from the rest: since 0.26 the log gives weights and memory outside torch together, and the peak with the graphs."""
    if observed.model is None and isinstance(observed.flags.get("model"), str):
        observed.model = str(observed.flags["model"])
    if observed.non_torch_bytes is None and observed.consumed_bytes is not None and observed.weights_bytes is not None:
        observed.non_torch_bytes = observed.consumed_bytes - observed.weights_bytes
    if (batch := observed.max_num_batched_tokens) is not None and (total := observed.total_bytes) is not None:
        release = VERSIONS[nearest_version(observed.version or "").name]
        observed.suits = lambda gpu: default_batches(gpu, total, release)[0] == batch


_MODALITIES = ("language_model_only", "limit_mm_per_prompt")  # no settings of the ledger's, but it hears of them
SETTINGS: Mapping[str, str] = MappingProxyType({setting.name: setting.flag for setting in COMMAND} | {name: flag_of(name) for name in _MODALITIES})


def command_words(observed: Observed) -> list[str]:
    """The command that made this log, as words after `vllm serve`; empty where the log does not say its model."""
    model = observed.flags.get("model_tag") or observed.flags.get("model") or observed.model
    if not isinstance(model, str):
        return []
    words = [model]
    for name, flag in SETTINGS.items():
        value = observed.flags.get(name)
        if value in (None, False, "False", "None"):
            continue
        words += [flag] if value is True or value == "True" else [flag, json.dumps(value) if isinstance(value, dict) else str(value)]
    batch = observed.max_num_batched_tokens
    return [*words, "--max-num-batched-tokens", str(batch)] if batch and "max_num_batched_tokens" not in observed.flags else words
