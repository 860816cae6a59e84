"""What vLLM refuses of flags together, or of a file that one names, before anything is loaded.

Mirrors vLLM 0.33 entrypoints/common/cli_args.py:480-579 (validate_parsed_serve_args and what it calls) and
entrypoints/launchers/dp_supervisor.py:52.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True)
class FlagFault:
    """A word of a command that this release does not take; `earlier` where one before those that are known here may have."""

    flag: str
    message: str
    fix: str
    value: bool = False  # whether the value is at fault, not the flag
    earlier: bool = False


Values = Mapping[str, str | bool]
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")  # renderers/params.py:27
_TEMPLATES = ("basic", "blip2", "chatml", "deepseek_ocr", "deepseek_vl2", "kimi_audio", "minicpmv45")  # of transformers_utils/chat_templates
_SUPERVISED = "--data-parallel-multi-port-external-lb"


def refused_together(values: Values, *, here: bool, rust: bool) -> Iterator[FlagFault]:
    """The faults of flags that were read; `here`: files are to lie on this machine, `rust`: VLLM_USE_RUST_FRONTEND is set."""
    for flag, needed in (("--enable-auto-tool-choice", "--tool-call-parser"), ("--enable-log-outputs", "--enable-log-requests")):
        if values.get(flag) and not values.get(needed):
            yield _fault(flag, f"{flag} requires {needed}", f"add {needed}")
    if values.get("--enable-per-request-metrics") and values.get("--disable-log-stats"):
        yield _fault("--disable-log-stats", "--enable-per-request-metrics requires statistics", "leave --disable-log-stats out")
    if str(values.get("--sse-keep-alive-interval", "0")).startswith("-"):
        yield _fault("--sse-keep-alive-interval", "--sse-keep-alive-interval must not be negative", "--sse-keep-alive-interval 0")
    yield from _ports(values, rust)
    yield from _efforts(values)
    if values.get(_SUPERVISED):
        yield from _supervised(values)
    template = values.get("--chat-template")
    if here and isinstance(template, str) and "$" not in template and not _is_template(template):
        yield _fault("--chat-template", f"--chat-template {template[:200]!r} looks like a path, but there is no such file here", "the path of a Jinja file")


def _fault(flag: str, message: str, fix: str) -> FlagFault:
    return FlagFault(flag, message, fix, value=True)


def _ports(values: Values, rust: bool) -> Iterator[FlagFault]:
    if "--grpc-port" not in values:
        return
    if values.get("--grpc"):
        yield _fault("--grpc", "--grpc and --grpc-port are mutually exclusive", "leave one out")
    elif not rust:
        yield _fault("--grpc-port", "--grpc-port requires VLLM_USE_RUST_FRONTEND=1", "--grpc --port for the Python gRPC server")


def _efforts(values: Values) -> Iterator[FlagFault]:
    text = values.get("--reasoning-effort-map")
    try:
        data = json.loads(text) if isinstance(text, str) else None
    except ValueError:  # what only a shell knows
        return
    if data is not None and not (isinstance(data, dict) and all(key in _EFFORTS and isinstance(value, str) for key, value in data.items())):
        yield _fault("--reasoning-effort-map", "--reasoning-effort-map takes a JSON object of strings", f"keys among {', '.join(_EFFORTS)}")


def _supervised(values: Values) -> Iterator[FlagFault]:
    size, local = (_whole(values.get(flag, default)) for flag, default in (("--data-parallel-size", "1"), ("--data-parallel-size-local", "0")))
    if size is not None and local is not None and (size < 2 or local < 2 or local > size or size % local):
        yield _fault(_SUPERVISED, f"{_SUPERVISED} requires --data-parallel-size over 1 and --data-parallel-size-local that divides it", "set both")
    others = ("--grpc", "--uds", "--data-parallel-rank", "--data-parallel-external-lb", "--data-parallel-hybrid-lb")
    if other := next((flag for flag in others if values.get(flag)), None):
        yield _fault(other, f"{_SUPERVISED} cannot be combined with {other}", f"leave {other} out")
    if ("--ssl-keyfile" in values) != ("--ssl-certfile" in values):
        yield _fault("--ssl-keyfile", "--ssl-keyfile and --ssl-certfile must be provided together", "give both")
    if values.get("--api-server-count", "1") != "1":
        yield _fault("--api-server-count", f"{_SUPERVISED} requires --api-server-count 1", "--api-server-count 1")


def _whole(text: str | bool) -> int | None:
    """A number; None for what only a shell knows."""
    return int(text) if re.fullmatch(r"-?\d+", str(text)) else None


def _is_template(text: str) -> bool:
    """Whether vLLM may take it: Jinja itself, a file, one that vLLM ships (in its package, or in the folder examples/ of its images).

    So may one in a folder that is not here: the server it is for has other folders than this machine.
    """
    if any(character in text for character in "{}\n") or text in [f"template_{name}.jinja" for name in _TEMPLATES]:
        return True
    try:
        return "examples" in Path(text).parts or Path(text).exists() or not Path(text).parent.exists()
    except (OSError, ValueError):
        return False
