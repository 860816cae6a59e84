"""Somebody's Ollama: variables of `ollama serve`, the model that `ollama run` names, the Modelfile of `ollama create`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import PurePath

from planner.engines.llamacpp.find import MAKING, NAMING
from planner.engines.llamacpp.ggml import KV_TYPES
from planner.engines.llamacpp.modelfile import DEPRECATED, MAX_BYTES, Modelfile, read_modelfile
from planner.engines.llamacpp.ollama_own import is_earlier
from planner.engines.llamacpp.settings import OLLAMA_SETTINGS, OLLAMA_VARIABLES
from planner.errors import nearest
from planner.facts.command import Command
from planner.facts.not_covered import NotCovered
from planner.facts.plan import Problem
from planner.facts.settings import Value, by_name, read_flags
from planner.facts.verdict import Warn
from planner.reader import read_bytes
from planner.text import shown

PROGRAM = ("ollama",)
_DEFAULTS = by_name(OLLAMA_SETTINGS)
# Flags of `ollama run` and `pull` (cmd/cmd.go); serve has none.
_TAKES = ("--format", "--keepalive", "--dimensions", "--file", "-f", "--quantize", "-q")
_SWITCHES = (
    "--draft-quantize",
    "--think",
    "--hidethinking",
    "--insecure",
    "--nowordwrap",
    "--verbose",
    "--truncate",
    "--experimental",
    "--experimental-yolo",
    "--experimental-websearch",
)


def read_command(command: Command) -> Command:
    """The command with what Ollama reads in it and in its environment."""
    action = command.words[0] if command.words else "serve"
    names, faults = _named(command.words[1:]) if action in NAMING else ([], list(_flags(command.words[1:])))
    file = modelfile_of(command)
    faults += file.faults if file else ()
    env = dict(command.env)
    said = {row.flag: env[row.flag] for row in OLLAMA_SETTINGS if env.get(row.flag)}
    settings, _ = read_flags(OLLAMA_SETTINGS, said)  # what it cannot read it logs, and takes its default (envconfig/config.go Uint)
    if not is_earlier(command.version):  # those pass over a type that they cannot have
        faults += _cache_faults(str(settings.get("kv_cache_type", "f16")), env)
    return replace(
        command,
        program=PROGRAM,
        model=file.model if file else names[0] if names and action != MAKING else command.model,
        makes=names[0] if names and action == MAKING else "",
        settings=settings,
        faults=tuple(faults),
        is_client=action in NAMING,
        not_covered=tuple(part.flag for part in missing(command)),
    )


def _cache_faults(kind: str, env: Mapping[str, str]) -> Iterator[Problem]:
    if kind.lower() not in KV_TYPES:  # passed on as it is (llm/server.go)
        yield Problem(code="bad-value", message=f"OLLAMA_KV_CACHE_TYPE: Unsupported cache type: {shown(kind)}", fix=f"one of {', '.join(KV_TYPES)}")
    elif kind.lower() not in ("f16", "f32", "bf16") and not has_flash_attention(env):  # llama-server is given both, and refuses
        yield Problem(code="bad-value", message=f"OLLAMA_KV_CACHE_TYPE={kind} requires flash attention", fix="OLLAMA_FLASH_ATTENTION=1")


def modelfile_of(command: Command) -> Modelfile | None:
    """The Modelfile of `ollama create`, where it lies here or the script around it writes it; None for another command. Raises PlannerError for one that is none."""
    if command.words[:1] != (MAKING,):
        return None
    name = _modelfile_name(command.words)
    text = next((text for key, text in command.files.items() if PurePath(key) == PurePath(name)), None)
    if text is None and (path := command.place(name)):
        text = read_bytes(path, MAX_BYTES, "a Modelfile").decode(errors="replace")
    return None if text is None else read_modelfile(text, name)


def missing_modelfile(command: Command) -> str:
    """The Modelfile that a command names and that does not lie here; empty where none is missing."""
    return _modelfile_name(command.words) if command.words[:1] == (MAKING,) and modelfile_of(command) is None else ""


def _modelfile_name(words: Sequence[str]) -> str:
    named = [value for flag, value in pairwise(words) if flag in ("-f", "--file")] + [word.partition("=")[2] for word in words if word.startswith("--file=")]
    return named[-1] if named else "Modelfile"


def setting(settings: Mapping[str, Value], name: str) -> Value:
    """A setting as the environment has it, or Ollama's default."""
    return settings.get(name, _DEFAULTS[name].default)


def _named(words: Sequence[str]) -> tuple[list[str], list[Problem]]:
    """The words that are no flags, the model first, and flags that are none."""
    names: list[str] = []
    faults: list[Problem] = []
    at = 0
    while at < len(words):
        word, at = words[at], at + 1
        name = word.partition("=")[0]
        if not word.startswith("-"):
            names.append(word)
        elif name in _TAKES:
            at += "=" not in word
        elif name not in _SWITCHES:
            faults.append(_unknown(name))
    return names, faults


def _flags(words: Sequence[str]) -> Iterator[Problem]:
    yield from (_unknown(word) for word in words if word.startswith("-"))


def _unknown(flag: str) -> Problem:
    return Problem(code="unknown-flag", message=f"unknown flag: {shown(flag)}", fix="leave it out; Ollama is set by variables (OLLAMA_…)")


def missing(command: Command) -> list[NotCovered]:
    """What of it the ledger does not hold."""
    env = dict(command.env)
    parts = []
    if env.get("LLAMA_ARG_FIT", "on") in ("off", "0", "false"):
        parts.append(NotCovered(flag="LLAMA_ARG_FIT=off", what="layers that are not made to fit", effect="adds"))
    if (file := modelfile_of(command)) and file.adapters:
        parts.append(NotCovered(flag="ADAPTER", what="weights of the adapters", effect="adds"))
    if file and file.drafts:
        parts.append(NotCovered(flag="DRAFT", what="weights and cache of the draft model", effect="adds"))
    if {"--quantize", "-q"} & set(command.words) and file and file.is_file:
        parts.append(NotCovered(flag="--quantize", what="weights in another quantization than the file's", effect="lowers"))
    return parts


def has_flash_attention(env: Mapping[str, str]) -> bool:
    """Whether flash attention is left to Ollama, or asked for."""
    return env.get("OLLAMA_FLASH_ATTENTION", "1").lower() not in ("0", "false", "f")


def remarks(command: Command) -> Iterator[Warn]:
    """What Ollama passes over: misspelt variables, values that it cannot read, variables of a client, parameters that do nothing."""
    env = dict(command.env)
    for name in env:
        if name.startswith("OLLAMA_") and name not in OLLAMA_VARIABLES:
            near = nearest(name, OLLAMA_VARIABLES, 1)
            yield Warn(code="unknown-variable", message=f"Ollama knows no {shown(name)} and passes it over" + (f"; did you mean {near[0]}?" if near else ""))
    for row in OLLAMA_SETTINGS:
        value = env.get(row.flag, "")
        if value and row.kind.value in ("tokens", "count") and not re.fullmatch(r"\d+", value):
            yield Warn(code="bad-variable", message=f"Ollama cannot read {row.flag}={shown(value)} and takes its default")
    if command.words[:1] and command.words[0] in NAMING and (alone := [row.flag for row in OLLAMA_SETTINGS if row.flag in command.set_for_it]):
        message = f"{', '.join(alone)} before `ollama {command.words[0]}` is the client's: a server that runs already, or as a service, does not see it"
        yield Warn(code="client-variable", message=f"{message}; set it where `ollama serve` starts")
    if "OLLAMA_GPU_OVERHEAD" in env:
        message = "OLLAMA_GPU_OVERHEAD only lowers the context that Ollama takes by itself: its llama-server is not told; LLAMA_ARG_FIT_TARGET (MiB) keeps memory free"
        yield Warn(code="does-nothing", message=message)
    yield from _of_modelfile(modelfile_of(command), env)


def _of_modelfile(file: Modelfile | None, env: Mapping[str, str]) -> Iterator[Warn]:
    if file is None:
        return
    old = [name for name in file.parameters if name in DEPRECATED]
    if old:
        yield Warn(code="does-nothing", message=f"PARAMETER {', '.join(old)}: Ollama reads it no more")
    if file.number("num_ctx") and env.get("OLLAMA_CONTEXT_LENGTH"):
        message = f"OLLAMA_CONTEXT_LENGTH={shown(env['OLLAMA_CONTEXT_LENGTH'])} does nothing for this model: its Modelfile says num_ctx"
        yield Warn(code="does-nothing", message=message)
