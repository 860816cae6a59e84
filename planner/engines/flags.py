"""The flags of `vllm serve`, from a table taken from vLLM itself (benchmarks/flags.py): what each takes, since when, until when."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from planner.engines.versions import VERSIONS
from planner.errors import did_you_mean

# What to use now: from the release notes and help texts of the releases that dropped them.
SUCCESSORS = {
    "--task": "--runner pooling (and --convert embed) for an embedding model",
    "--rope-scaling": "--hf-overrides '{\"rope_parameters\": {...}}'",
    "--rope-theta": "--hf-overrides '{\"rope_parameters\": {...}}'",
    "--cuda-graph-sizes": "--cudagraph-capture-sizes",
    "--max-seq-len-to-capture": "--max-cudagraph-capture-size",
    "--guided-decoding-backend": "--structured-outputs-config",
    "--override-pooler-config": "--pooler-config",
    "--enable-reasoning": "--reasoning-parser alone",
    "--num-redundant-experts": "--eplb-config",
    "--swap-space": "nothing: preempted requests are recomputed; --kv-offloading-size keeps cache in main memory",
    "--calculate-kv-scales": "nothing: scales come from the checkpoint",
    "--num-scheduler-steps": "nothing: steps are scheduled asynchronously",
    "--use-v2-block-manager": "nothing: it is the only one",
    "--max-num-partial-prefills": "nothing: chunked prefill needs no limit",
}


@dataclass(frozen=True, slots=True)
class FlagFault:
    """A word of a command that this release does not take; `gone` where an earlier one did."""

    flag: str
    message: str
    fix: str
    value: bool = False  # whether the value is at fault, not the flag


@cache
def _table() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(files("planner.engines").joinpath("flags.json").read_text("utf-8"))
    return loaded


@cache
def _spellings() -> Mapping[str, str]:
    return {name: flag for flag, entry in _table()["flags"].items() for name in (flag, *entry.get("also", ()))}


def parse_flags(words: Sequence[str], version: str) -> tuple[dict[str, str | bool], list[str], list[FlagFault]]:
    """Values by flag, words that belong to none, and faults, as vLLM's own parser would read the words after `serve`.

    Underscores are dashes, `--flag=value` and `--flag value` are one, `--no-flag` is False, `--flag.key value` is one setting of a JSON flag.
    """
    values: dict[str, str | bool] = {}
    positional: list[str] = []
    faults: list[FlagFault] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or _is_number(word):
            positional.append(word)
            continue
        name, equals, value = word.partition("=")
        name = name if not name.startswith("--") else "--" + name[2:].replace("_", "-")
        flag = _spellings().get(name) or _short_with_value(name) or _dotted(name)
        if flag is None:
            if fault := _unknown(name, version):  # else this release still had it
                faults.append(fault)
            if not equals and rest and not rest[0].startswith("-"):
                rest.pop(0)
            continue
        if fault := _too_new(flag, version):
            faults.append(fault)
        if equals:
            values[flag] = value
        else:
            _take(name, flag, rest, values, faults)
    return values, positional, faults


def _take(name: str, flag: str, rest: list[str], values: dict[str, str | bool], faults: list[FlagFault]) -> None:
    """Take what a flag takes of the words behind it."""
    takes = _table()["flags"][flag]["values"]
    if takes == 0:
        values[flag] = not name.startswith("--no-")
    elif takes == 1:
        if not rest or (rest[0].startswith("-") and not _is_number(rest[0]) and rest[0] != "-"):
            faults.append(FlagFault(name, f"{name} needs a value", "give one", value=True))
        else:
            values[flag] = rest.pop(0)
    else:
        many: list[str] = []
        while rest and not rest[0].startswith("-") and (takes == "many" or not many):
            many.append(rest.pop(0))
        values[flag] = " ".join(many)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _short_with_value(name: str) -> str | None:
    """-O3 is -O 3."""
    return "--optimization-level" if name.startswith("-O") and "--optimization-level" in _table()["flags"] else None


def _dotted(name: str) -> str | None:
    """--compilation-config.mode sets one key of a JSON flag."""
    return _spellings().get(name.partition(".")[0]) if "." in name else None


def _too_new(flag: str, version: str) -> FlagFault | None:
    since = _table()["flags"][flag].get("since")
    order = list(VERSIONS)
    if since and order.index(version) < order.index(since):
        return FlagFault(flag, f"{flag} came with vLLM {since}; this is {version}", f"leave it out or use {since}")
    return None


def _unknown(name: str, version: str) -> FlagFault | None:
    last = _table()["last_known_in"].get(name)
    successor = SUCCESSORS.get(name, "")
    if last or successor:
        when = f"vLLM {version} no longer knows {name}" + (f" (last in {last})" if last else "")
        order = list(VERSIONS)
        fix = successor.replace("nothing", "leave it out", 1) if successor.startswith("nothing") else f"use {successor}" if successor else "leave it out"
        if last and order.index(version) <= order.index(last):
            return None
        return FlagFault(name, when, fix)
    return FlagFault(name, f"vLLM {version} has no flag {name}", did_you_mean(name, _spellings()) or "leave it out")
