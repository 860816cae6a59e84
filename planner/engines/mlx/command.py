"""Somebody's command of mlx_lm.server or mlx_vlm.server: its settings, its model, what it refuses, what of it the ledger does not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.engines.mlx import find
from planner.engines.mlx.flags import grammar
from planner.engines.mlx.settings import SETTINGS
from planner.engines.words import Words, read_words
from planner.facts.command import Command
from planner.facts.not_covered import NotCovered
from planner.facts.plan import Problem
from planner.facts.settings import read_flags
from planner.text import shown

_NOT_COVERED: Mapping[str, NotCovered] = {
    part.flag: part
    for part in (
        NotCovered(flag="--draft-model", what="weights and cache of the draft model", effect="adds"),
        NotCovered(flag="--adapter-path", what="weights of the adapter", effect="adds"),
        NotCovered(flag="--image-model", what="the image model", effect="adds"),
        NotCovered(flag="--tts-model", what="the speech model", effect="adds"),
        NotCovered(flag="--stt-model", what="the speech model", effect="adds"),
        NotCovered(flag="--reranker-model", what="the reranker", effect="adds"),
        NotCovered(flag="--decision-model", what="the decision model", effect="adds"),
        NotCovered(flag="--pipeline", what="layers on other machines", effect="lowers"),
        NotCovered(flag="--expert-cache-gb", what="experts kept on the disk", effect="lowers"),
        NotCovered(flag="--kv-key-bits", what="a cache of other bits for keys", effect="either"),
        NotCovered(flag="--kv-value-bits", what="a cache of other bits for values", effect="either"),
        NotCovered(flag="--kv-group-size", what="a cache in groups of another size", effect="either"),
    )
}


def server_of(command: Command) -> str:
    """The server that a command starts."""
    server = find.server_of([*command.program, *command.words])
    return server[0] if server else find.SERVERS[0]


def words_of(command: Command) -> Words:
    """The command's words as argparse reads them."""
    return read_words(command.words, grammar(server_of(command)), command.unresolved)


def read_command(command: Command) -> Command:
    """The command with what its server reads in it."""
    read, server = words_of(command), server_of(command)
    open_values = {flag: value for flag, value in read.values.items() if not any(part in str(value) for part in command.unresolved)}
    settings, refused = read_flags(SETTINGS, open_values)
    problems = [*read.faults, *(Problem(code="unknown-flag", message=f"unrecognized arguments: {shown(word)}", fix="leave it out") for word in read.rest)]
    problems += [Problem(code="bad-value", message=message, fix=f"correct {flag}") for flag, message in refused.items()]
    return replace(
        command,
        program=(server,),
        model=str(read.values.get("--model") or read.values.get("--embedding-model") or command.model),
        settings=settings,
        faults=tuple(problems),
        not_covered=tuple(option.flag for option in missing(read.values)),
    )


def missing(values: Mapping[str, str | bool]) -> list[NotCovered]:
    """What of a command the ledger does not hold."""
    said = [_NOT_COVERED[flag] for flag, value in values.items() if flag in _NOT_COVERED and value is not False]
    bits = str(values.get("--kv-bits", "8"))
    if values.get("--kv-quant-scheme") == "turboquant" or (bits.replace(".", "", 1).isdecimal() and float(bits) != int(float(bits))):
        said.append(NotCovered(flag="--kv-bits", what="a cache of TurboQuant's", effect="either"))
    if "--model" in values and "--embedding-model" in values:
        said.append(NotCovered(flag="--embedding-model", what="a second model", effect="adds"))
    return said
