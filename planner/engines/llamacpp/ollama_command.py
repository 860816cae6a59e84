"""Somebody's Ollama: variables of `ollama serve`, and the model that `ollama run` names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from planner.engines.llamacpp.find import NAMING
from planner.engines.llamacpp.ggml import KV_TYPES
from planner.engines.llamacpp.settings import OLLAMA_SETTINGS, OLLAMA_VARIABLES
from planner.errors import nearest
from planner.facts.command import Command
from planner.facts.not_covered import NotCovered
from planner.facts.plan import Problem
from planner.facts.settings import Value, by_name, read_flags
from planner.facts.verdict import Warn
from planner.text import shown

PROGRAM = ("ollama",)
_DEFAULTS = by_name(OLLAMA_SETTINGS)
# Flags of `ollama run` and `pull` (cmd/cmd.go); serve has none.
_TAKES = ("--format", "--keepalive", "--dimensions")
_SWITCHES = (
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
    env = dict(command.env)
    said = {row.flag: env[row.flag] for row in OLLAMA_SETTINGS if env.get(row.flag)}
    settings, _ = read_flags(OLLAMA_SETTINGS, said)  # what it cannot read it logs, and takes its default (envconfig/config.go Uint)
    if (kind := str(settings.get("kv_cache_type", "f16"))).lower() not in KV_TYPES:  # passed on as it is (llm/server.go)
        faults.append(Problem(code="bad-value", message=f"OLLAMA_KV_CACHE_TYPE: Unsupported cache type: {shown(kind)}", fix=f"one of {', '.join(KV_TYPES)}"))
    return replace(
        command,
        program=PROGRAM,
        model=names[0] if names else "",
        settings=settings,
        faults=tuple(faults),
        is_client=action in NAMING,
        not_covered=tuple(part.flag for part in missing(command)),
    )


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
    if env.get("OLLAMA_FLASH_ATTENTION", "1").lower() in ("0", "false"):
        parts.append(NotCovered(flag="OLLAMA_FLASH_ATTENTION=0", what="a compute buffer without flash attention", effect="adds"))
    if env.get("LLAMA_ARG_FIT", "on") in ("off", "0", "false"):
        parts.append(NotCovered(flag="LLAMA_ARG_FIT=off", what="layers that are not made to fit", effect="adds"))
    return parts


def remarks(command: Command) -> Iterator[Warn]:
    """Variables that Ollama passes over: misspelt ones, and values that it cannot read."""
    env = dict(command.env)
    for name in env:
        if name.startswith("OLLAMA_") and name not in OLLAMA_VARIABLES:
            near = nearest(name, OLLAMA_VARIABLES, 1)
            yield Warn(code="unknown-variable", message=f"Ollama knows no {shown(name)} and passes it over" + (f"; did you mean {near[0]}?" if near else ""))
    for row in OLLAMA_SETTINGS:
        value = env.get(row.flag, "")
        if value and row.kind.value in ("tokens", "count") and not re.fullmatch(r"\d+", value):
            yield Warn(code="bad-variable", message=f"Ollama cannot read {row.flag}={shown(value)} and takes its default")
