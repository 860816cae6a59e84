"""Flags of a llama.cpp command that do nothing with what else it says, with its model or its machine: read, and without effect.

Sources: llama.cpp @0c1e57098 common/fit.cpp, common/arg.cpp, src/llama-model.cpp (split modes), src/llama-context.cpp (micro-batch), common/speculative.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.engines.llamacpp.model import GgufModel
from planner.facts.attention import ChunkedLocal, SlidingWindow
from planner.facts.verdict import Warn
from planner.text import shown

_OFF = ("off", "disabled", "false", "0")
_OF_SEVERAL = ("--tensor-split", "--split-mode", "--main-gpu")
_OF_DRAFTS = ("--spec-draft", "--draft", "--cache-type-k-draft", "--cache-type-v-draft", "--n-gpu-layers-draft", "--device-draft", "--threads-draft")
_DRAFTS = ("--model-draft", "--hf-repo-draft", "--spec-draft-model", "--spec-draft-hf", "--spec-type", "--spec-default")
_OF_IMAGES = ("--mmproj-offload", "--image-min-tokens", "--image-max-tokens")
_IMAGES = ("--mmproj", "--mmproj-url", "--hf-repo")


def idle(values: Mapping[str, str | bool], model: GgufModel, gpus: int) -> Iterator[Warn]:
    """Each flag that does nothing, and why."""
    for flag, why in _reasons(values, model, gpus):
        yield Warn(code="does-nothing", message=f"{shown(flag)} does nothing: {why}")


def _reasons(values: Mapping[str, str | bool], model: GgufModel, gpus: int) -> Iterator[tuple[str, str]]:
    if str(values.get("--fit", "on")) in _OFF:
        yield from ((flag, "--fit off makes nothing fit") for flag in ("--fit-target", "--fit-ctx") if flag in values)
    elif "--fit-ctx" in values and "--ctx-size" in values:
        yield "--fit-ctx", "the context is said (--ctx-size), and never made shorter"
    if gpus == 1:
        yield from ((flag, "one GPU is used") for flag in _OF_SEVERAL if flag in values)
    if not model.has_experts:
        yield from ((flag, "the model has no experts") for flag in ("--cpu-moe", "--n-cpu-moe") if values.get(flag) not in (None, False, "0"))
    if "--swa-full" in values and not any(isinstance(cache, SlidingWindow | ChunkedLocal) for cache, _ in model.caches):
        yield "--swa-full", "no layer of the model has a window"
    if not any(flag in values for flag in _DRAFTS):
        yield from ((flag, "no model drafts (--model-draft, --spec-type)") for flag in values if flag.startswith(_OF_DRAFTS))
    if not any(flag in values for flag in _IMAGES):
        yield from ((flag, "there is no projector (--mmproj)") for flag in _OF_IMAGES if flag in values)
    batch, micro = (_number(values.get(flag), usual) for flag, usual in (("--batch-size", 2048), ("--ubatch-size", 512)))
    if "--ubatch-size" in values and micro > batch:
        yield f"--ubatch-size {micro}", f"a step holds no more than a batch (--batch-size {batch})"


def _number(value: str | bool | None, usual: int) -> int:
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else usual
