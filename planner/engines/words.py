"""Reading the words of a server's command by a table of its flags, for engines whose parsers are plain: what each flag takes, no groups, no configuration files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cached_property
from typing import NotRequired, TypedDict

from planner.errors import did_you_mean, nearest
from planner.facts.plan import Problem
from planner.facts.record import dataclass
from planner.text import shown

_MOST_FAULTS = 20  # enough for a person to read
_NUMBER = re.compile(r"[-+]?(?:\d++\.?\d*+|\.\d++)(?:[eE][-+]?\d++)?\Z")


class Entry(TypedDict):
    """A flag of a flags.json: how many words it takes (at least), how it reads them, its other spellings, those that switch it off, its variable, what replaced it.

    One that reads a list goes on with it where it is said again.
    """

    takes: int
    many: NotRequired[bool]
    reads: NotRequired[str]
    also: NotRequired[list[str]]
    off: NotRequired[list[str]]
    choices: NotRequired[list[str]]
    reads_also: NotRequired[list[str]]
    env: NotRequired[str]
    removed: NotRequired[str]


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """How one program reads its words. `table` is a flags.json: by flag what it takes and reads, its other spellings, choices, variable."""

    program: str
    release: str
    table: Mapping[str, Entry]
    is_argparse: bool
    """Python's argparse: --flag=value, unambiguous beginnings of flags, whole numbers and nothing behind them; else as llama.cpp reads."""
    gone: Mapping[str, str] = field(default_factory=dict)
    """Flags of older releases, and what to use now."""

    @cached_property
    def spellings(self) -> Mapping[str, str]:
        """Every spelling of every flag, with the flag it means."""
        return {spelling: flag for flag, entry in self.table.items() for spelling in (flag, *entry.get("also", ()), *entry.get("off", ()))}

    def meant(self, word: str) -> str | None:
        """The spelling that a word means; None where there is none."""
        if not self.is_argparse:
            word = word.replace("_", "-") if word.startswith("--") else word
            return word if word in self.spellings else None
        name = word.partition("=")[0]
        if name in self.spellings:
            return name
        begun = [spelling for spelling in self.spellings if name.startswith("--") and len(name) > 2 and spelling.startswith(name)]
        return begun[0] if len(begun) == 1 else None


@dataclass(slots=True)
class Words:
    """What was read: values by flag (a switch is True or False), words that belong to no flag, what the program refuses."""

    values: dict[str, str | bool] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)
    faults: list[Problem] = field(default_factory=list)


def read_words(words: Sequence[str], grammar: Grammar, unresolved: Sequence[str] = ()) -> Words:
    """Read the words after a program. What is refused is a fault and left out; `unresolved` are parts that only a shell knows, which are not judged."""
    read = Words()
    at = 0
    while at < len(words) and len(read.faults) < _MOST_FAULTS:
        word = words[at]
        at += 1
        spelling = grammar.meant(word)
        if spelling is None:
            if any(part in word for part in unresolved):
                continue
            if not word.startswith("-"):
                read.rest.append(word)
                continue
            read.faults.append(_unknown(word.partition("=")[0], grammar))
            at += "=" not in word and at < len(words) and not words[at].startswith("-")  # its value
            continue
        flag = grammar.spellings[spelling]
        entry = grammar.table[flag]
        if removed := entry.get("removed"):
            read.faults.append(Problem(code="unknown-flag", message=f"{spelling}: the argument has been removed", fix=str(removed)))
        takes = int(entry["takes"])
        given = [word.partition("=")[2]] if grammar.is_argparse and "=" in word and takes else list(words[at : at + takes])
        at += 0 if "=" in word and grammar.is_argparse else len(given)
        while entry.get("many") and at < len(words) and given and not _is_flag(given[0], grammar) and not _is_flag(words[at], grammar):
            given.append(words[at])
            at += 1
        if not takes:
            read.values[flag] = spelling not in entry.get("off", ())
        elif len(given) < takes or (grammar.is_argparse and _is_flag(given[0], grammar)):
            at -= len(given)
            read.faults.append(Problem(code="bad-value", message=f"{spelling} expects a value", fix=f"{spelling} {_example(entry)}"))
        elif refused := _refused(given[0], entry, grammar, unresolved):
            read.faults.append(
                Problem(code="bad-value", message=f"{spelling} is {shown(given[0])!r}: {refused}", fix=f"{spelling} {_example(entry, given[0])}")
            )
            if not grammar.is_argparse and given[0].startswith("-") and grammar.meant(given[0]):
                at -= len(given)  # the value was left out, the next flag taken for it
        elif entry.get("reads") == "list" and flag in read.values:
            read.values[flag] = f"{read.values[flag]},{given[0]}"
        else:
            read.values[flag] = " ".join(given)
    return read


def _is_flag(word: str, grammar: Grammar) -> bool:
    return word.startswith("-") and len(word) > 1 and not _NUMBER.match(word) and (word.startswith("--") or grammar.meant(word) is not None)


def _example(entry: Entry, near: str = "") -> str:
    choices = entry.get("choices")
    return (nearest(near, choices, 1) or choices)[0] if choices else "N" if entry.get("reads") else "VALUE"


def _refused(text: str, entry: Entry, grammar: Grammar, unresolved: Sequence[str]) -> str:
    """Why a value is refused; empty where it is taken."""
    if any(part in text for part in unresolved):
        return ""
    choices = entry.get("choices")
    if choices and text not in choices and text not in entry.get("reads_also", ()):
        return f"choose from {', '.join(choices)}"
    match entry.get("reads"):
        case "int" if not re.match(r"\s*[-+]?\d+" + (r"(?:_\d+)*\s*\Z" if grammar.is_argparse else ""), text):
            return "expected a whole number"
        case "float" if not re.match(r"\s*" + _NUMBER.pattern.removesuffix(r"\Z") + (r"\s*\Z" if grammar.is_argparse else ""), text):
            return "expected a number"
        case _:
            return ""


def _unknown(name: str, grammar: Grammar) -> Problem:
    name = shown(name, 100)
    if successor := grammar.gone.get(name):
        return Problem(
            code="unknown-flag",
            message=f"{grammar.program} {grammar.release} no longer knows {name}",
            fix=successor.replace("nothing", "leave it out", 1) if successor.startswith("nothing") else f"use {successor}",
        )
    fix = did_you_mean(name, grammar.spellings) or "leave it out"
    return Problem(code="unknown-flag", message=f"{grammar.program} {grammar.release} has no flag {name}", fix=fix)
