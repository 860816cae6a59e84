"""What a log says, as JSON and for the terminal."""

from __future__ import annotations

import shlex
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from typing_extensions import TypedDict

from planner.engines.vllm.answer import judged
from planner.engines.vllm.explain import Explained, size
from planner.engines.vllm.remedies import Remedy
from planner.facts.hardware import GpuSpec
from planner.report.contract import CheckJson, check_json
from planner.units import GIB


class ObservedJson(TypedDict):
    """What the log says; null for what it does not say."""

    vllm_version: str | None
    model: str | None
    gpu: str | None
    settings: dict[str, object]
    weights_bytes: int | None
    activation_bytes: int | None
    non_torch_bytes: int | None
    cuda_graph_bytes: int | None
    kv_cache_bytes: int | None
    kv_cache_tokens: int | None
    max_concurrency: float | None


class CauseJson(TypedDict):
    """The first error that matters."""

    code: str
    message: str


class RemedyJson(TypedDict):
    """What the message calls for; `arguments` are flags of the command, empty where it is none."""

    change: str
    arguments: str


class DifferenceJson(TypedDict):
    """One component, predicted and observed."""

    what: str
    predicted: float
    observed: float
    why: str


class ExplainJson(TypedDict):
    """The answer about a log."""

    schema: Literal[1]
    started: bool
    observed: ObservedJson
    root_cause: CauseJson | None
    remedies: list[RemedyJson]
    predicted: CheckJson | None
    differences: list[DifferenceJson]
    fixed_command: list[str] | None


def explain_json(explained: Explained, gpu: str | None) -> ExplainJson:
    """The JSON object of an explained log."""
    seen, cause = explained.observed, explained.observed.root_cause
    return {
        "schema": 1,
        "started": seen.started,
        "observed": {
            "vllm_version": seen.vllm_version,
            "model": seen.model,
            "gpu": gpu,
            "settings": {key: value for key, value in seen.flags.items() if key not in ("model", "model_tag", "api_key")},
            "weights_bytes": seen.weights_bytes,
            "activation_bytes": seen.activation_bytes,
            "non_torch_bytes": seen.non_torch_bytes,
            "cuda_graph_bytes": seen.cuda_graph_bytes,
            "kv_cache_bytes": seen.kv_cache_bytes,
            "kv_cache_tokens": seen.kv_cache_tokens,
            "max_concurrency": seen.max_concurrency,
        },
        "root_cause": {"code": cause.code, "message": cause.message} if cause else None,
        "remedies": [{"change": remedy.change, "arguments": remedy.arguments} for remedy in explained.remedies],
        "predicted": check_json(judged(explained.predicted)) if explained.predicted else None,
        "differences": [{"what": d.what, "predicted": d.predicted, "observed": d.observed, "why": d.why} for d in explained.differences],
        "fixed_command": list(explained.fixed_argv) if explained.fixed_argv else None,
    }


def _headline(explained: Explained, gpu: GpuSpec | None) -> Text:
    seen = explained.observed
    failed = "refused a request" if seen.root_cause and seen.root_cause.code == "refused-request" else "did not start"
    state = ("started", "bold green") if seen.started else (failed, "bold red") if seen.root_cause else ("ends before it started", "bold yellow")
    engine = seen.root_cause.engine if seen.root_cause else "vllm"
    release = f" {seen.vllm_version}" if seen.vllm_version else ""
    said = f"{f' on {gpu.title}' if gpu else ''} with {'vLLM' if engine == 'vllm' else engine}{release}: "
    return Text().append(seen.model or "a model that is not named", "bold").append(said).append(*state)


def _differences(explained: Explained) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("GiB", "predicted", "observed", ""):
        table.add_column(name, justify="right" if name in ("predicted", "observed") else "left", style="dim" if not name else "")
    for difference in explained.differences:
        table.add_row(difference.what, size(difference, difference.predicted), size(difference, difference.observed), difference.why)
    return table


def _observed(explained: Explained) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name in ("weights", "activation", "non_torch", "cuda_graph", "kv_cache"):
        value = getattr(explained.observed, f"{name}_bytes")
        if value is not None:
            table.add_row(name, f"{value / GIB:.2f} GiB")
    return table


def _remedy(remedy: Remedy) -> Text:
    return Text(f"  {remedy.change}").append(f": {remedy.arguments}" if remedy.arguments else "", "bold")


def _missing(explained: Explained, gpu: GpuSpec | None) -> str:
    """What would be needed for a prediction, in words; empty where another runtime wrote the message."""
    cause = explained.observed.root_cause
    if cause is not None and cause.engine != "vllm":
        return ""
    lacks = [f"{what} (--{name} names it)" for what, name, there in (("model", "model", explained.words), ("GPU", "gpu", gpu)) if not there]
    return f"the log does not say the {' and the '.join(lacks)}" if lacks else f"{explained.words[0]} is not known here, or this GPU refuses it"


def render(explained: Explained, gpu: GpuSpec | None) -> RenderableType:
    """The whole report as one renderable."""
    pieces: list[RenderableType] = [_headline(explained, gpu)]
    cause = explained.observed.root_cause
    if cause:
        pieces += [Text(f"x {cause.code}: {cause.message}", "red")]
    found = _differences(explained) if explained.differences else _observed(explained)
    pieces += [Text(), found] if found.row_count else []
    if explained.remedies and not explained.fixed_argv:
        pieces += [Text(), Text("What this message calls for:"), *(_remedy(remedy) for remedy in explained.remedies)]
    if explained.predicted is None and (missing := _missing(explained, gpu)):
        pieces += [Text(), Text(f"No prediction beside it: {missing}.", "dim")]
    if explained.fixed_argv:
        source = "By vLLM's own estimate this would start:" if explained.fixed_by_estimate else "This would start (checked):"
        pieces += [Text(), Text(source), Text(shlex.join(explained.fixed_argv), "bold", no_wrap=True, overflow="ignore")]
    return Group(*pieces)
