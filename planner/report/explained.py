"""What a log says, as JSON and for the terminal."""

from __future__ import annotations

import shlex

from typing_extensions import TypedDict

from planner.engines import ENGINES
from planner.facts.hardware import GpuSpec
from planner.facts.observed import Difference, Explained, Remedy
from planner.questions.proxy.judge import TITLE as PROXY
from planner.report.contract import check_json
from planner.report.contract_parts import AnswerJson, CheckJson
from planner.report.head import HEAD
from planner.report.table import Column, Grid
from planner.report.text import Piece, Text
from planner.text import redact_values
from planner.units import GIB, tokens

# What a server does, of whose requests a message tells.
_SERVES = {
    "refused-request": "refused a request",
    "timeout": "answered too late",
    "cooldown": "asks nobody",
    "unknown-model": "was asked for a model that is not there",
    "unreachable": "found no server",
    "truncated": "cut a prompt",
    "empty-answer": "answered nothing",
    "slow-load": "answered late",
    "layers-on-cpu": "runs partly on the CPU",
    "downloading": "still downloads the model",
}
_SHOWN = ("weights", "activation", "non_torch", "cuda_graph", "compute", "kv_cache", "host", "used")


class WriterJson(TypedDict):
    """The engine that wrote the log; its version is null where it does not say."""

    name: str
    version: str | None


class ObservedJson(TypedDict):
    """What the log says; null for what it does not say. `vllm_version` is the engine's version, by its name of contract 1."""

    vllm_version: str | None
    version: str | None
    model: str | None
    gpu: str | None
    settings: dict[str, object]
    weights_bytes: int | None
    activation_bytes: int | None
    non_torch_bytes: int | None
    cuda_graph_bytes: int | None
    compute_bytes: int | None
    kv_cache_bytes: int | None
    kv_cache_tokens: int | None
    max_concurrency: float | None
    host_bytes: int | None
    used_bytes: int | None
    layers: int | None
    layers_on_gpu: int | None


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


class ExplainJson(AnswerJson):
    """The answer about a log; `started` is null where it tells neither a start nor an error."""

    engine: WriterJson
    started: bool | None
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
        **HEAD,
        "engine": {"name": seen.engine, "version": seen.version},
        "started": True if seen.started else None if cause is None else False,
        "observed": {
            "vllm_version": seen.version,
            "version": seen.version,
            "model": seen.model,
            "gpu": gpu,
            "settings": {key: redact_values(value, key) for key, value in seen.flags.items() if key not in ("model", "model_tag", "api_key", "argv")},
            "weights_bytes": seen.weights_bytes,
            "activation_bytes": seen.activation_bytes,
            "non_torch_bytes": seen.non_torch_bytes,
            "cuda_graph_bytes": seen.cuda_graph_bytes,
            "compute_bytes": seen.compute_bytes,
            "kv_cache_bytes": seen.kv_cache_bytes,
            "kv_cache_tokens": seen.kv_cache_tokens,
            "max_concurrency": seen.max_concurrency,
            "host_bytes": seen.host_bytes,
            "used_bytes": seen.used_bytes,
            "layers": seen.layers,
            "layers_on_gpu": seen.layers_on_gpu,
        },
        "root_cause": {"code": cause.code, "message": cause.message} if cause else None,
        "remedies": [{"change": remedy.change, "arguments": remedy.arguments} for remedy in explained.remedies],
        "predicted": check_json(explained.predicted) if explained.predicted else None,
        "differences": [{"what": d.what, "predicted": d.predicted, "observed": d.observed, "why": d.why} for d in explained.differences],
        "fixed_command": list(explained.fixed_argv) if explained.fixed_argv else None,
    }


def _state(explained: Explained) -> tuple[str, str]:
    """What became of the server, and its colour."""
    seen, cause = explained.observed, explained.observed.root_cause
    if cause is None:
        return ("started", "bold green") if seen.started else ("ends before it started", "bold yellow")
    if cause.code in _SERVES:
        return _SERVES[cause.code], "bold yellow" if cause.code in ("layers-on-cpu", "slow-load", "downloading") else "bold red"
    return ("started, then failed" if seen.started else "did not start"), "bold red"


def _title(writer: str) -> str:
    """Whose log it is: an engine, or the proxy before it."""
    return ENGINES[writer].title if writer in ENGINES else PROXY


def _headline(explained: Explained, gpu: GpuSpec | None) -> Text:
    seen = explained.observed
    state = _state(explained)
    release = f" {seen.version}" if seen.version else ""
    cards = explained.predicted.group.count if explained.predicted else 1
    where = f" on {f'{cards}x ' if cards > 1 else ''}{gpu.title}" if gpu else ""
    said = f"{where} with {_title(seen.engine)}{release}: "
    return Text().append(seen.model or ("a model that is not named" if seen.engine in ENGINES else "a proxy"), "bold").append(said).append(*state)


def _differences(explained: Explained) -> Grid:
    columns = (Column("GiB", is_left=True), Column("predicted"), Column("observed"), Column("", is_left=True, style="dim"))
    return Grid(
        columns,
        [
            (difference.what, size(difference, difference.predicted), size(difference, difference.observed), difference.why)
            for difference in explained.differences
        ],
    )


def _observed(explained: Explained) -> Grid:
    values = ((name, getattr(explained.observed, f"{name}_bytes")) for name in _SHOWN)
    return Grid([Column("", is_left=True)] * 2, [(name, f"{value / GIB:.2f} GiB") for name, value in values if value is not None])


def size(difference: Difference, value: float) -> str:
    """A value as the report prints it."""
    if difference.what == "kv_cache_tokens":
        return tokens(int(value))
    return f"{value:.2f}" if difference.what == "max_concurrency" else f"{value / GIB:.2f}"


def _remedy(remedy: Remedy) -> Text:
    return Text(f"  {remedy.change}").append(f": {remedy.arguments}" if remedy.arguments else "", "bold")


def _missing(explained: Explained, gpu: GpuSpec | None) -> str:
    """What would be needed for a prediction, in words; nothing for a proxy, which takes none."""
    if explained.observed.engine not in ENGINES:
        return ""
    lacks = [f"{what} (--{name} names it)" for what, name, there in (("model", "model", explained.argv), ("GPU", "gpu", gpu)) if not there]
    return (
        f"the log does not say the {' and the '.join(lacks)}"
        if lacks
        else f"{explained.observed.model or 'the model'} is not known here, or this GPU refuses it"
    )


def render(explained: Explained, gpu: GpuSpec | None) -> list[Piece]:
    """The whole report."""
    pieces: list[Piece] = [_headline(explained, gpu)]
    cause = explained.observed.root_cause
    if cause:
        pieces += [Text(f"x {cause.code}: {cause.message}", "red")]
    table = _differences(explained) if explained.differences else _observed(explained)
    pieces += [Text(), table] if table.rows else []
    if explained.remedies and not explained.fixed_argv:
        pieces += [Text(), Text("What this message calls for:"), *(_remedy(remedy) for remedy in explained.remedies)]
    if explained.predicted is None and (missing := _missing(explained, gpu)):
        pieces += [Text(), Text(f"No prediction beside it: {missing}.", "dim")]
    if explained.fixed_argv:
        source = f"By {_title(explained.observed.engine)}'s own estimate this would start:" if explained.fixed_by_estimate else "This would start (checked):"
        pieces += [Text(), Text(source), Text(shlex.join(explained.fixed_argv), "bold", is_whole=True)]
    return pieces
