"""Somebody's command of llama-server or llama-cli: its settings, its model, what it refuses, what of it the ledger does not hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from planner.engines.llamacpp.builds import DEFAULT_BUILD, FLASH_IS_AUTO, build_in
from planner.engines.llamacpp.flags import CLI, SERVER, grammar, stoi
from planner.engines.llamacpp.ggml import KV_TYPES
from planner.engines.llamacpp.settings import SETTINGS
from planner.engines.words import read_words
from planner.facts.command import Command
from planner.facts.not_covered import NotCovered
from planner.facts.plan import Problem
from planner.facts.settings import Value, by_name, read_flags
from planner.facts.verdict import Warn
from planner.text import shown

_DEFAULTS = by_name(SETTINGS)
_FILE_READING = ("--no-mmap", "--mmap", "--mlock")
_NOT_COVERED: Mapping[str, NotCovered] = {
    part.flag: part
    for part in (
        NotCovered(flag="--lora", what="weights of the adapters", effect="adds"),
        NotCovered(flag="--lora-scaled", what="weights of the adapters", effect="adds"),
        NotCovered(flag="--control-vector", what="the control vectors", effect="adds"),
        NotCovered(flag="--control-vector-scaled", what="the control vectors", effect="adds"),
        NotCovered(flag="--mmproj-url", what="the vision projector", effect="adds"),
        NotCovered(flag="--moe-cache-mib", what="the cache of experts", effect="adds"),
        NotCovered(flag="--n-cpu-ffn", what="feed-forward weights kept in main memory", effect="lowers"),
        NotCovered(flag="--rpc", what="layers on other machines", effect="lowers"),
        NotCovered(flag="--override-kv", what="changes to the model's metadata", effect="either"),
        NotCovered(flag="--kv-unified-per-slot", what="a cache sized by slot", effect="either"),
        NotCovered(flag="--models-dir", what="models that are loaded later", effect="adds"),
        NotCovered(flag="--models-preset", what="models that are loaded later", effect="adds"),
    )
}


def program_of(command: Command) -> str:
    """The program that a command starts: llama-server, or llama-cli, which holds one conversation."""
    return CLI if any(re.search(r"(?:^|[/\\])(?:llama-)?cli(?:\.exe)?$", word) for word in command.program) else SERVER


def values_of(command: Command) -> tuple[dict[str, str | bool], list[str], tuple[Problem, ...]]:
    """Values by flag, the environment's (LLAMA_ARG_…) below the command's; words that belong to no flag; what is refused."""
    taken = grammar(program_of(command))
    read = read_words(_as_today(command), taken, command.unresolved)
    env = dict(command.env)
    said: dict[str, str | bool] = {}
    for flag, entry in taken.table.items():
        if (variable := entry.get("env")) in env:
            said[flag] = env[variable].lower() in ("on", "enabled", "true", "1") if not entry["takes"] else env[variable]
    return said | read.values, read.rest, tuple(read.faults)


def build_of(command: Command) -> int:
    """The build that a command runs, as far as it says."""
    return build_in(command.version) or DEFAULT_BUILD


def _as_today(command: Command) -> tuple[str, ...]:
    """The words of an earlier build as today's: --flash-attn was a switch, and how a file is read had flags of its own, which change no memory of the GPU."""
    if (build := build_of(command)) >= DEFAULT_BUILD:
        return command.words
    words = tuple(word for word in command.words if word not in _FILE_READING)
    if build >= FLASH_IS_AUTO:
        return words
    return tuple(part for word in words for part in ((word, "on") if word in ("-fa", "--flash-attn") else (word,)))


def read_command(command: Command) -> Command:
    """The command with what llama-server reads in it."""
    values, rest, faults = values_of(command)
    settings, refused = read_flags(SETTINGS, {flag: value for flag, value in values.items() if not _is_open(value, command.unresolved)}, stoi)
    problems = [*faults, *(Problem(code="unknown-flag", message=f"invalid argument: {shown(word)}", fix="leave it out") for word in rest)]
    problems += [Problem(code="bad-value", message=message, fix=f"correct {flag}") for flag, message in refused.items()]
    problems += _refused(settings, build_of(command))
    return replace(
        command,
        program=(program_of(command),),
        model=str(settings.get("hf_repo") or settings.get("model") or values.get("--model-url") or values.get("--docker-repo") or ""),
        settings=settings,
        faults=tuple(problems),
        not_covered=tuple(part.flag for part in missing(values)),
    )


def _is_open(value: str | bool, unresolved: Sequence[str]) -> bool:
    return any(part in str(value) for part in unresolved)


def setting(settings: Mapping[str, Value], name: str) -> Value:
    """A setting as the command has it, or llama-server's default."""
    return settings.get(name, _DEFAULTS[name].default)


def missing(values: Mapping[str, str | bool]) -> list[NotCovered]:
    """What of a command the ledger does not hold."""
    return [_NOT_COVERED[flag] for flag, value in values.items() if flag in _NOT_COVERED and value not in (False, "none", "0")]


def _refused(settings: Mapping[str, Value], build: int) -> Iterator[Problem]:
    """Values that it refuses before it loads a model (common/arg.cpp), and what its context refuses (src/llama-context.cpp)."""
    for name in ("cache_type_k", "cache_type_v", "cache_type_k_draft", "cache_type_v_draft"):
        if (kind := setting(settings, name)) not in KV_TYPES:
            flag = _DEFAULTS[name].flag
            yield Problem(
                code="bad-value", message=f"{flag}: Unsupported cache type: {shown(str(kind))}", fix=f"{flag} {KV_TYPES[0]}, or {', '.join(KV_TYPES[1:])}"
            )
    layers = str(setting(settings, "n_gpu_layers"))
    if layers not in ("auto", "all") and not re.match(r"\s*[-+]?\d", layers):
        yield Problem(code="bad-value", message=f"--n-gpu-layers is {shown(layers)!r}: expected a number, auto or all", fix="--n-gpu-layers all")
    is_switch = build < FLASH_IS_AUTO
    is_off = str(settings.get("flash_attn", "off") if is_switch else setting(settings, "flash_attn")) in ("off", "disabled", "false", "0")
    if is_off and (kind := str(setting(settings, "cache_type_v"))) not in ("f16", "f32", "bf16") and kind in KV_TYPES:
        yield Problem(code="bad-value", message=f"a V cache of {kind} requires flash attention", fix="--flash-attn" if is_switch else "--flash-attn on")


def remarks(values: Mapping[str, str | bool]) -> Iterator[Warn]:
    """What it reads otherwise than people do: of 32k the 32, without a word."""
    for flag, value in values.items():
        entry = grammar().table.get(flag) or grammar(CLI).table[flag]
        if entry.get("reads") == "int" and re.fullmatch(r"\d+(?:\.\d+)?\s*[kKmMgG](?:i?B)?", str(value)):
            yield Warn(code="thousands", message=f"llama.cpp reads {flag} {value} as {stoi(str(value)):,}; write the whole number")
    yield from _of_idle_ones(values)


def _of_idle_ones(values: Mapping[str, str | bool]) -> Iterator[Warn]:
    """What becomes of a model that nobody asks (llama.cpp#18228), and a bound that is a router's (its --models-max unloads the least recently used)."""
    said = str(values.get("--sleep-idle-seconds", ""))
    if re.match(r"\d", said) and (idle := stoi(said)) > 0:
        message = f"--sleep-idle-seconds {idle}: after so many seconds without a request the model and its cache leave memory; the next request loads it anew"
        yield Warn(code="keep-alive", message=message)
    if "--models-max" in values and any(values.get(flag) for flag in ("--model", "--hf-repo")):
        message = "--models-max does nothing: it bounds the models of a router, which llama-server is where no model is named"
        yield Warn(code="does-nothing", message=message)
