"""The flags of `vllm serve`, from a table taken from vLLM itself (benchmarks/flags.py): what each takes, since when, until when."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypedDict, cast

from planner.engines.vllm.arguments import HELP, MAX_WORDS, NOTHING, Parser, Taken, build, model_first, rewritten, with_config
from planner.engines.vllm.flag_rules import FlagFault, refused_together
from planner.engines.vllm.flag_values import Bounds, FlagEntry
from planner.engines.vllm.parsers import unknown_parsers
from planner.engines.vllm.versions import VERSIONS
from planner.errors import MisuseError, PlannerError, did_you_mean
from planner.text import BLANK, behind_keys, redact_words, shown

_MOST_FAULTS = 20  # enough for a person to read
_MOST_READ = 40_000  # words that are read of one command, over and over without what is wrong in it: argparse tells of one thing at a time

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
    "--disable-log-requests": "nothing: requests are logged with --enable-log-requests only",
    "--swap-space": "nothing: preempted requests are recomputed; --kv-offloading-size keeps cache in main memory",
    "--calculate-kv-scales": "nothing: scales come from the checkpoint",
    "--num-scheduler-steps": "nothing: steps are scheduled asynchronously",
    "--use-v2-block-manager": "nothing: it is the only one",
    "--max-num-partial-prefills": "nothing: chunked prefill needs no limit",
}


class FlagTable(TypedDict):
    """flags.json."""

    flags: dict[str, FlagEntry]
    last_known_in: dict[str, str]
    first_known_in: dict[str, str]
    """Of those that are gone, where not the oldest release had them."""
    gone_takes: dict[str, int | str]
    """How many words those that are gone took."""


@cache
def flag_table() -> FlagTable:
    """flags.json: what each flag of the newest release takes, since when, and which are gone."""
    loaded: FlagTable = json.loads(Path(__file__).with_name("flags.json").read_text("utf-8"))
    return loaded


@cache
def known_flags() -> Mapping[str, str]:
    """Every spelling of every flag, with the flag it means."""
    return {name: flag for flag, entry in flag_table()["flags"].items() for name in (flag, *entry.get("also", ()))}


def _as_of(entry: FlagEntry, number: int) -> FlagEntry:
    """What a flag took in the release of that number among those known."""
    order = list(VERSIONS)
    otherwise = next((keys for until, keys in entry.get("earlier", ()) if number < order.index(until)), FlagEntry())
    return cast("FlagEntry", {key: value for key, value in {**entry, **otherwise}.items() if value is not None})


def _unregistered(flag: str, entry: FlagEntry) -> FlagEntry:
    """A flag whose names are those of a registry: parsers.py judges them, which knows that a patch release may have brought one."""
    if flag not in ("--reasoning-parser", "--tool-call-parser"):
        return entry
    earlier = [(until, cast("FlagEntry", {key: value for key, value in keys.items() if key != "choices"})) for until, keys in entry.get("earlier", ())]
    return cast("FlagEntry", {**{key: value for key, value in entry.items() if key != "choices"}, "earlier": earlier})


@cache
def _parser(version: str) -> Parser:
    """The parser of a release: the newest one's flags that it had, and those that are gone since."""
    order = list(VERSIONS)
    newest, number = version == order[-1], order.index(version)
    had = {
        flag: _as_of(_unregistered(flag, entry), number) for flag, entry in flag_table()["flags"].items() if number >= order.index(entry.get("since", order[0]))
    }
    first, takes = flag_table()["first_known_in"], flag_table()["gone_takes"]
    had |= {
        flag: FlagEntry(takes=takes[flag])
        for flag, last in flag_table()["last_known_in"].items()
        if order.index(first.get(flag, order[0])) <= number <= order.index(last)
    }
    return build(had, newest=newest)


def spellings(version: str) -> dict[str, FlagEntry]:
    """Every spelling that the parser of a release takes, with what its flag takes there; nothing is known of one that is gone since."""
    number, table = list(VERSIONS).index(version), flag_table()["flags"]
    taken = {name: action.dest for name, action in _parser(version).spellings.items() if action.dest != HELP}
    return {name: _as_of(table.get(flag, FlagEntry()), number) for name, flag in taken.items()}


def bounds_of(flag: str, version: str) -> Bounds:
    """How small and how large the number of a flag may be in a release, once the parser has taken it."""
    return _as_of(flag_table()["flags"].get(flag, FlagEntry()), list(VERSIONS).index(version)).get("bounds", Bounds())


def holds_nothing(flag: str, value: str) -> bool:
    """Whether a list that the parser has taken holds None, as one word of it may mean; keys of the API stand in no class."""
    entry = flag_table()["flags"].get(flag, FlagEntry())
    return entry.get("takes") == "+" and bool(entry.get("optional")) and NOTHING in value.split(" ") and flag not in ("--api-key", "--lora-modules")


def parse_flags(
    words: Sequence[str], version: str, *, unresolved: Sequence[str] = (), here: bool = True, rust: bool = False
) -> tuple[dict[str, str | bool], list[str], list[FlagFault]]:
    """Values by flag, the model where a word names it, and faults, as the parser of that release reads the words after `vllm serve`.

    `unresolved` are parts that only a shell knows; `here`: files that it names are to lie on this machine; `rust`: VLLM_USE_RUST_FRONTEND is set. A value is its text as vLLM understands it (8K is "8192"); a switch is True or False. What is refused is left out and the rest read.
    """
    faults: list[FlagFault] = []
    try:
        words = model_first(words)
        if words and words[0].startswith("-") and "--config" not in words and any(re.match(r"--served[-_]model[-_]name(=|$)", word) for word in words):
            faults.append(FlagFault("--served-model-name", "vLLM wants the model before --served-model-name", "vllm serve MODEL …", value=True))
        words = rewritten(with_config(words), VERSIONS[version].level_flag)
    except MisuseError as error:
        return {}, [word for word in words[:1] if not word.startswith("-")], [*faults, _misuse(error)]
    if len(words) > MAX_WORDS:
        raise PlannerError(f"a command of {len(words):,} words", f"at most {MAX_WORDS:,} are read")
    taken, more = _read_all(_parser(version), words, version, unresolved)
    faults += more
    faults += [FlagFault(flag, f"argument {flag}: {reason}", _value_fix(flag, reason), value=True) for flag, reason in taken.refused]
    taken.rest = [word for word in taken.rest if not any(part in word for part in unresolved)]
    if taken.rest:
        keys = behind_keys(words)
        rest = " ".join(BLANK if word in keys else word for word in redact_words(taken.rest))[:100]
        faults.append(
            FlagFault(taken.rest[0], f"unrecognized arguments: {rest!r}; vLLM takes one model", "leave it out, or quote what belongs together", value=True)
        )
    if (method := taken.values.get("--quantization")) and isinstance(method, str) and method not in unresolved:
        taken.values["--quantization"] = method.lower()  # config/model.py validate_quantization_before
    if taken.values.pop(HELP, False):
        faults.append(FlagFault(HELP, "--help prints the flags and starts no server", "leave it out"))
    faults += refused_together(taken.values, here=here, rust=rust)
    faults += unknown_parsers({flag: value for flag, value in taken.values.items() if not any(part in str(value) for part in unresolved)}, version)
    safe = [replace(fault, flag=shown(fault.flag, 100), message=shown(fault.message, 1000)) for fault in faults]
    return taken.values, [taken.model] if taken.model is not None else [], safe


@dataclass
class _Reading:
    """A command that is read again and again without what is wrong in it, for as many words as `left` says."""

    parser: Parser
    unresolved: Sequence[str]
    left: int = _MOST_READ

    def read(self, words: list[str]) -> Taken:
        """Raises MisuseError as the parser does, and _SpentError when more words would be read than one command is worth."""
        self.left -= len(words)
        if self.left < 0:
            raise _SpentError
        return self.parser.read(words, self.unresolved)

    def cured(self, words: list[str], message: str) -> bool:
        """Whether words are not misused in this way."""
        try:
            self.read(words)
        except MisuseError as error:
            return error.message != message
        return True


class _SpentError(Exception):
    """Enough of a command was read again."""


def _read_all(parser: Parser, words: list[str], version: str, unresolved: Sequence[str]) -> tuple[Taken, list[FlagFault]]:
    """Read words, leaving out one misuse or unknown flag after the other, each of which is a fault; what is left when that took too long is not read."""
    faults: list[FlagFault] = []
    reading = _Reading(parser, unresolved)
    taken = Taken(unresolved)
    try:
        while True:
            try:
                taken = reading.read(words)
            except MisuseError as error:
                faults.append(_misuse(error))
                words = _without(reading, words, error) if len(faults) < _MOST_FAULTS else []
                continue
            unknown = next((word for word in taken.rest if word.startswith("-") and word != "--" and not _is_number(word)), None)
            if unknown is None or len(faults) >= _MOST_FAULTS:
                return taken, faults
            if fault := _unknown(unknown.partition("=")[0], version):
                faults.append(fault)
            words = _dropped(reading, words, words.index(unknown))
    except _SpentError:
        return taken, faults


def _dropped(reading: _Reading, words: list[str], index: int) -> list[str]:
    """The words without an unknown flag and without the word behind it, unless that is the model."""
    flag, alone = words[index], [*words[:index], *words[index + 1 :]]
    known = flag_table()["flags"].get(known_flags().get(flag, ""), {})
    if "=" in flag or known.get("takes") == 0 or words[index + 1 : index + 2] == [] or words[index + 1].startswith("-"):
        return alone
    both = [*words[:index], *words[index + 2 :]]
    try:
        return both if known or reading.read(both).model is not None else alone
    except MisuseError:
        return both


def _without(reading: _Reading, words: list[str], misuse: MisuseError) -> list[str]:
    """The words without those that a misuse comes from: the first that is gone with its removal, and its value; or all that write its flag."""
    writing = [index for index, word in enumerate(words) if word.startswith("-") and _writes(reading.parser, word, misuse)]
    for index in writing:
        if reading.cured(rest := [*words[:index], *words[index + 1 :]], misuse.message):
            follows = "=" not in words[index] and index < len(rest) and not rest[index].startswith("-")
            both = [*rest[:index], *rest[index + 1 :]]
            return both if follows and "ambiguous" in misuse.message else rest
    return [word for index, word in enumerate(words) if index not in set(writing)] if writing else []


def _writes(parser: Parser, word: str, misuse: MisuseError) -> bool:
    """Whether a word may be the one that a misuse tells of: it writes its flag, whole or in part, alone or with a value."""
    name = word.partition("=")[0]
    if not misuse.flag:
        return f" {name}" in misuse.message
    action = parser.spellings.get(misuse.flag)
    return action is None or any(spelling.startswith(name) or (word.startswith(spelling) and spelling[1] != "-") for spelling in action.option_strings)


def _misuse(error: MisuseError) -> FlagFault:
    text, flag = error.message, error.flag
    if "ambiguous option" in text:
        flag = text.partition("ambiguous option: ")[2].partition(" ")[0].partition("=")[0]
        name = text.partition(" could match ")[2]
        return FlagFault(flag, f"ambiguous option: {flag} could match {name}", f"write one of them: {name.split(',')[0]}")
    if "ignored explicit argument" in text:
        off = " ".join(flag_table()["flags"].get(flag, {}).get("off", ())[:1])
        return FlagFault(flag, f"argument {flag}: it takes no value", f"{flag} alone" + (f", or {off}" if off else ""), value=True)
    return FlagFault(flag or "--", text, "give it" if "expected" in text else "correct it", value=True)


def _value_fix(flag: str, reason: str) -> str:
    choices = flag_table()["flags"].get(flag, {}).get("choices", ())
    return f"{flag} {choices[0]}" if choices and "invalid choice" in reason else f"correct {flag}"


def _is_number(word: str) -> bool:
    return re.fullmatch(r"-\d+|-\d*\.\d+", word) is not None  # argparse's own rule


def _taken_in(name: str) -> list[str]:
    """The releases whose parser takes a spelling, as a flag's own or beside it."""
    table, order = flag_table(), list(VERSIONS)
    last, first = table["last_known_in"].get(name), table["first_known_in"].get(name, order[0])
    taken = set(order[order.index(first) : order.index(last) + 1]) if last else set()
    for flag, entry in table["flags"].items():
        ever = (flag, *entry.get("also", ()), *(other for _, keys in entry.get("earlier", ()) for other in keys.get("also") or ()))
        if name not in ever:
            continue
        since = order.index(entry.get("since", order[0]))
        taken |= {release for number, release in enumerate(order) if number >= since and name in (flag, *(_as_of(entry, number).get("also") or ()))}
    return [release for release in order if release in taken]


def _unknown(name: str, version: str) -> FlagFault | None:
    """Why a release does not take a flag: it came later, it is gone, or it never was."""
    order, taken, successor = list(VERSIONS), _taken_in(name), SUCCESSORS.get(name, "")
    last = next((release for release in reversed(taken) if order.index(release) < order.index(version)), None)
    if last is None and taken:
        here = [spelling for spelling in flag_table()["flags"].get(known_flags().get(name, ""), {}).get("off", ()) if spelling in spellings(version)]
        return FlagFault(name, f"{name} came with vLLM {taken[0]}; this is {version}", " or ".join(here) or f"leave it out or use {taken[0]}")
    if last or successor:
        when = f"vLLM {version} no longer knows {name}" + (f" (last in {last})" if last else "")
        fix = successor.replace("nothing", "leave it out", 1) if successor.startswith("nothing") else f"use {successor}" if successor else "leave it out"
        return FlagFault(name, when, fix, earlier=True)
    if (short := re.fullmatch(r"(-[a-z]+)(\d+)", name)) and short[1] in known_flags():
        return FlagFault(name, f"vLLM {version} has no flag {name}", f"{short[1]} {short[2]}")
    return FlagFault(name, f"vLLM {version} has no flag {name[:100]}", did_you_mean(name, spellings(version)) or "leave it out", earlier=True)
