"""What a log of llama-server or Ollama says beside what was predicted for the command that it tells of."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner.engines.beside import changed, differences
from planner.engines.llamacpp.causes import remedies
from planner.engines.llamacpp.check import check_server
from planner.engines.llamacpp.ollama_check import check_listed
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.observed import Difference, Explained, Observed

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue
    from planner.facts.plan import Plan

_WHY = {
    "weights": "another file, or a mix that is not llama.cpp's own",
    "kv_cache": "another context, number of slots or type of the cache",
    "compute": "another micro-batch, or an older build, whose mask was larger",
}
_OTHERWISE = "another context, number of requests or type of the cache; Ollama before 0.30 shows its own estimate, up to a fifth more"
CLOSE_TOTAL = 0.05  # share by which the size of a whole model may differ: the table rounds it
_FLAGS = {
    "ctx_size": "--ctx-size",
    "parallel": "--parallel",
    "ubatch_size": "--ubatch-size",
    "cache_type_k": "--cache-type-k",
    "cache_type_v": "--cache-type-v",
    "device": "--device",
}


def explain(observed: Observed, *, model: str, gpu: GpuSpec | None, count: int, catalogue: Catalogue, is_ollama: bool) -> Explained:
    """Set a log beside the prediction. Ollama's runner is a llama-server: it is predicted as one."""
    if observed.used_bytes is not None:
        return _of_table(observed, gpu, count, catalogue)
    words = _words(observed, model)
    predicted = _predict(observed, words, gpu, count, catalogue, is_ollama=is_ollama)
    cause = observed.root_cause
    fixed = None
    if not is_ollama and cause is not None and cause.code == "out-of-memory" and predicted is not None and predicted.alternatives:
        fixed = ("llama-server", *changed(words, shlex.split(predicted.alternatives[0].arguments)))
    return Explained(
        observed=observed,
        argv=("llama-server", *words) if words else (),
        predicted=predicted,
        differences=differences(observed, predicted, _WHY),
        fixed_argv=fixed,
        remedies=remedies(cause, is_ollama=is_ollama) if cause else (),
    )


def _of_table(observed: Observed, gpu: GpuSpec | None, count: int, catalogue: Catalogue) -> Explained:
    """What `ollama ps` shows of a model beside what Ollama was predicted to take for it."""
    words = ("run", observed.model or "")
    context = observed.flags.get("ctx_size")
    command = Command(engine="ollama", words=words, env=(("OLLAMA_CONTEXT_LENGTH", str(context)),) if context else ())
    predicted, told = None, tuple[Difference, ...]()
    if gpu is not None:
        with suppress(PlannerError):  # a tag that nobody here knows
            predicted, listed = check_listed(command, GpuGroup(gpu=gpu, count=max(count, _cards(observed, gpu))), catalogue)
            told = _listed(observed, *listed)
    cause = observed.root_cause
    return Explained(
        observed=observed,
        argv=("ollama", *words),
        predicted=predicted,
        differences=told,
        remedies=remedies(cause, is_ollama=True) if cause else (),
    )


def _cards(observed: Observed, gpu: GpuSpec) -> int:
    """The fewest cards that hold what the table says is on GPUs."""
    return max(1, -(-((observed.used_bytes or 0) - (observed.host_bytes or 0)) // gpu.cuda_total_bytes))


def _listed(observed: Observed, size: int, percent: int) -> tuple[Difference, ...]:
    """The table's size and what of it lies in main memory, over all GPUs, beside what was predicted of both."""
    seen, host = observed.used_bytes or 0, size * percent // 100
    is_close = abs(size - seen) <= CLOSE_TOTAL * size
    told = Difference(what="used", predicted=size, observed=seen, why="" if is_close else _OTHERWISE)
    if not host and not observed.host_bytes:
        return (told,)
    return (told, Difference(what="host", predicted=host, observed=observed.host_bytes or 0, why=""))


def _words(observed: Observed, model: str) -> list[str]:
    """The command, as far as the log tells it: the model's file by its name and quantization, the context, the cache, the layers."""
    file = _file(observed, model)
    if not file:
        return []
    words = ["--model", file]
    for name, flag in _FLAGS.items():
        if (value := observed.flags.get(name)) is not None:
            words += [flag, str(value)]
    if observed.flags.get("kv_unified"):
        words.append("--kv-unified")
    if observed.layers_on_gpu is not None:
        words += ["--n-gpu-layers", str(observed.layers_on_gpu)]
    return words


def _file(observed: Observed, model: str) -> str:
    """A file's name that tells the model and its mix."""
    mix = observed.flags.get("file_type")
    if model:
        return f"{model.rpartition('/')[2]}-{mix}.gguf" if mix else model if model.endswith(".gguf") else f"{model.rpartition('/')[2]}-Q4_K_M.gguf"
    if observed.model and observed.model.endswith(".gguf"):
        return Path(observed.model).name
    name = observed.flags.get("name")
    return f"{str(name).replace(' ', '-')}-{mix}.gguf" if name and mix else ""


def _predict(observed: Observed, words: list[str], gpu: GpuSpec | None, count: int, catalogue: Catalogue, *, is_ollama: bool) -> Plan | None:
    if not words or gpu is None:
        return None
    seen = replace(gpu, free_at_start_bytes=observed.free_at_start_bytes, free_is_told=True) if observed.free_at_start_bytes else gpu
    try:
        command = Command(engine="llama.cpp", words=tuple(words), version=None if is_ollama else observed.version)
        return check_server(command, GpuGroup(gpu=seen, count=max(1, count)), catalogue)
    except PlannerError:
        return None  # a model that nobody here knows: the log is explained all the same
