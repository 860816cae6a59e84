"""A log of mlx_lm.server or mlx_vlm.server -> whether it serves, which model, or the first error that matters; it says little of memory."""

from __future__ import annotations

import re
from collections.abc import Iterable

from planner.engines.causes import Finding, plain
from planner.engines.mlx.causes import ANYBODY_S, CAUSES, SERVES
from planner.facts.observed import Observed
from planner.units import GB

_MODEL = re.compile(r"\b((?:mlx-community|lmstudio-community|Qwen|google|mistralai|meta-llama)/[\w.-]{2,100})|--(?:embedding-)?model[= ]([\w./-]{2,200})")
_LARGE = re.compile(r"Generating with a model that requires (\d{1,12}) MB which is close to the maximum recommended size of (\d{1,12}) MB")
_VERSION = re.compile(r"\bmlx[-_](?:lm|vlm)(?:==|-| )v?(\d+\.\d+(?:\.\d+)?)")
_PEAK = re.compile(r"[Pp]eak memory: (\d{1,9}(?:\.\d{0,9})?) GB")
_SERVES = re.compile(SERVES)
_ERROR = re.compile(r"^(?:\w+\.)*[A-Z]\w*(?:Error|Exception)\b")


def read_log(lines: Iterable[str]) -> Observed:
    """Read a log from its first line to its last."""
    seen, finding, serves, fails = Observed(), Finding(CAUSES), False, False
    for line in lines:
        text = plain(line)
        finding.take(text)
        serves, fails = serves or bool(_SERVES.search(text)), fails or bool(_ERROR.search(text))
        if seen.model is None and (match := _MODEL.search(text)):
            seen.model = match[1] or match[2]
        if seen.version is None and (match := _VERSION.search(text)):
            seen.version = match[1]
        if seen.weights_bytes is None and (match := _LARGE.search(text)):
            seen.weights_bytes, seen.flags["recommended_bytes"] = int(match[1]) << 20, int(match[2]) << 20
        if match := _PEAK.search(text):
            seen.used_bytes = int(float(match[1]) * GB)
    seen.engine = "mlx" if finding.is_own else ""
    seen.started = finding.started and (serves or not fails)
    seen.root_cause = finding.cause if finding.is_own or not finding.cause or ANYBODY_S not in finding.cause.message else None
    return seen
