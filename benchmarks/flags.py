"""vLLM's serve flags by release, from vLLM itself: `python -m benchmarks.flags` rewrites planner/engines/vllm/flags.json.

Every release's own parser says what its flags take (tests/oracle/list_flags.py, in the judge's environment with that release's source before it).
The file holds the newest release's, since when each is there, and what was otherwise before; `python -m benchmarks.flags 0.34` reads one release
anew and keeps what the file has of the others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from planner.engines.vllm.flags import flag_table, spellings
from planner.engines.vllm.versions import VERSIONS

FILE = Path(__file__).parent.parent / "planner" / "engines" / "vllm" / "flags.json"
CHANGES = ("also", "off", "choices", "reads", "takes", "optional", "bounds")  # what may be told of an older release
Entry = dict[str, Any]


def listed(version: str) -> dict[str, Entry]:
    """The flags of a release by their first spelling, as its own parser describes them; none where it has no source distribution."""
    from benchmarks.release import ORACLE, release

    try:
        lines = release(version, install=False).run(ORACLE / "list_flags.py")
    except SystemExit:
        return {}
    entries = {}
    for entry in lines:
        first, *more = entry.pop("flags")
        entries[first] = entry | ({"also": more} if more else {})
    return entries


def names(flag: str, entry: Entry) -> set[str]:
    """All spellings of a flag."""
    return {flag, *entry.get("also", ())}


def twin(flag: str, entry: Entry, older: Mapping[str, Entry]) -> tuple[str, Entry] | None:
    """The flag of an older release that this one is: by its first spelling, else by any."""
    if flag in older:
        return flag, older[flag]
    return next(((other, its) for other, its in older.items() if names(flag, entry) & names(other, its)), None)


def table(releases: Mapping[str, Mapping[str, Entry]]) -> dict[str, object]:
    """What each flag of the newest release takes, since when, what was otherwise before; and the flags that are gone."""
    order = [version for version, flags in releases.items() if flags]
    newest, flags = order[-1], {}
    for flag, entry in releases[newest].items():
        history = [(version, twin(flag, entry, releases[version])) for version in order]
        first = next(version for version, its in history if its)
        flags[flag] = dict(entry)
        if first != order[0]:
            flags[flag]["since"] = first
        if earlier := changes(flag, entry, [(version, its) for version, its in history if its]):
            flags[flag]["earlier"] = earlier
    first: dict[str, str] = {}
    last: dict[str, str] = {}
    takes: dict[str, object] = {}
    for version in order:
        gone = {name for name in lost(releases[newest], releases[version]) if name.startswith("--")}
        last |= dict.fromkeys(gone, version)
        first |= dict.fromkeys(gone - first.keys(), version)
        takes |= {name: entry["takes"] for flag, entry in releases[version].items() for name in names(flag, entry) & gone}
    return contents(flags, last, {flag: version for flag, version in first.items() if version != order[0]}, takes)


def lost(newest: Mapping[str, Entry], older: Mapping[str, Entry]) -> set[str]:
    """Spellings of an older release's flags that are none of the newest's, whichever of these is spelled so today."""
    twins = {found[0] for flag, entry in newest.items() if (found := twin(flag, entry, older))}
    return {name for flag, entry in older.items() if flag not in twins for name in names(flag, entry)}


def changes(flag: str, newest: Entry, history: Sequence[tuple[str, tuple[str, Entry]]]) -> list[list[object]]:
    """What was otherwise before a release, the oldest first: [release, the keys that were otherwise until it]."""
    told: list[list[object]] = []
    for (_, (name, before)), (version, (_, after)) in pairwise(history):
        mine, its = differing(flag, newest, name, before), differing(flag, newest, flag, after)
        if mine and (mine != its or version == history[-1][0]):
            told.append([version, mine])
    return told


def differing(flag: str, newest: Entry, name: str, entry: Entry) -> Entry:
    """The keys in which an older release's flag is not as the newest's; null where it had none."""
    its = dict(entry)
    if name != flag:
        its["also"] = [name, *(other for other in entry.get("also", ()) if other != flag)]
    return {key: its.get(key) for key in CHANGES if its.get(key) != newest.get(key) and not same(its.get(key), newest.get(key))}


def same(left: object, right: object) -> bool:
    """Whether two lists have the same words."""
    return isinstance(left, list) and isinstance(right, list) and sorted(left) == sorted(right)


def contents(known: dict[str, Entry], last: dict[str, str], first: dict[str, str], takes: dict[str, object]) -> dict[str, object]:
    """The file."""
    comment = "vLLM's serve flags, written by `python -m benchmarks.flags`"
    gone = {"last_known_in": last, "first_known_in": first, "gone_takes": takes}
    return {"comment": comment, "flags": known, **{name: dict(sorted(told.items())) for name, told in gone.items()}}


def kept(version: str) -> dict[str, Entry]:
    """What the file says of a release, in the form of `listed`."""
    entries: dict[str, Entry] = {}
    for flag in flag_table()["flags"]:
        entry = spellings(version).get(flag)
        if entry:
            entries[flag] = {key: value for key, value in entry.items() if key not in ("since", "earlier")}
    order, data = list(VERSIONS), flag_table()
    first = {flag: order.index(known) for flag, known in data["first_known_in"].items()}
    takes = data["gone_takes"]
    return entries | {
        flag: {"takes": takes[flag]} for flag, last in data["last_known_in"].items() if first.get(flag, 0) <= order.index(version) <= order.index(last)
    }


def main(words: Sequence[str]) -> None:
    """Read all releases, or those that are named, and write the file."""
    data = table({version: listed(version) if not words or version in words else kept(version) for version in VERSIONS})
    lines = ",\n".join(f" {json.dumps(flag)}: {json.dumps(entry)}" for flag, entry in data["flags"].items())  # type: ignore[attr-defined]
    rest = json.dumps({key: value for key, value in data.items() if key != "flags"}, indent=1)
    FILE.write_text(f'{{"flags": {{\n{lines}\n}},{rest[1:]}\n')
    print(FILE)


if __name__ == "__main__":
    main(sys.argv[1:])
