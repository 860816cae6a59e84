"""Two answers to a question, of two days, releases or catalogues: what moved between them, and whether the verdict got worse.

Answers are the objects of docs/json.md, out of files: anything may be in them. What only one of them has is no move: contracts grow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from planner.errors import FileError
from planner.facts.document import JsonObject, json_list, json_object
from planner.facts.record import dataclass
from planner.facts.verdict import Verdict
from planner.questions.question import differences
from planner.reader import parse_json, read_bytes

PLAN = "plan.json"
MAX_BYTES = 16 * 1024 * 1024
_MEMORY = ("total_bytes", "kv_cache_bytes", "kv_cache_tokens", "max_concurrency", "longest_max_model_len")
_SPEED = ("tpot_s", "ttft_s", "output_tokens_per_s")


class Moved(StrEnum):
    """What a move is of."""

    VERDICT = "verdict"
    QUESTION = "question"
    RELEASE = "release"
    SETTING = "setting"
    FLAG = "flag"
    BYTES = "bytes"
    FIGURE = "figure"
    SPEED = "speed"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One thing that is another than it was; `server` is empty for the answer as a whole. What was not there is None."""

    kind: Moved
    name: str
    old: object
    new: object
    server: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What moved between two answers."""

    old: Verdict
    new: Verdict
    was_met: bool
    is_met: bool
    moves: tuple[Move, ...]

    @property
    def is_worse(self) -> bool:
        """Whether the verdict fell, or what was met no longer is."""
        return self.new < self.old or (self.was_met and not self.is_met)


def read_answer(path: Path) -> JsonObject:
    """An answer with a verdict, out of a file or the plan.json of a folder. Raises FileError for what is none."""
    path = path / PLAN if path.is_dir() else path
    answer = json_object(parse_json(read_bytes(path, MAX_BYTES, "a plan"), path))
    if answer.get("verdict") not in list(Verdict):
        raise FileError(path, "is no answer with a verdict", "plan … --output DIR writes plan.json; plan … --json prints one")
    return answer


def drift(old: JsonObject, new: JsonObject) -> Drift:
    """What moved from one answer to another."""
    verdicts = Verdict(str(old["verdict"])), Verdict(str(new["verdict"]))
    moves = [Move(kind=Moved.VERDICT, name="verdict", old=verdicts[0], new=verdicts[1])] if verdicts[0] is not verdicts[1] else []
    if old.get("question") and new.get("question"):
        asked = differences(old.get("question"), json_object(new.get("question")))
        moves += [Move(kind=Moved.QUESTION, name="question", old=asked[0], new=asked[1])] if any(asked) else []
    moves += _moved(Moved.RELEASE, _own_release(old), _own_release(new), "")
    moves += _moved(Moved.RELEASE, _releases(old), _releases(new), "")
    before, after = _servers(old), _servers(new)
    for name, server in before.items():
        if name in after:
            moves += _of_server(server, after[name], name if len(before) > 1 else "")
    moves += [Move(kind=Moved.VERDICT, name="server", old=name, new=None) for name in before if name not in after]
    moves += [Move(kind=Moved.VERDICT, name="server", old=None, new=name) for name in after if name not in before]
    moves += _words_moved(Moved.FLAG, _commands(old), _commands(new))
    codes = tuple({f"{problem}": True for problem in _problems(answer)} for answer in (old, new))
    moves += [Move(kind=Moved.PROBLEM, name=code, old=None, new=code) for code in codes[1] if code not in codes[0]]
    moves += [Move(kind=Moved.PROBLEM, name=code, old=code, new=None) for code in codes[0] if code not in codes[1]]
    met = (old.get("requirements_met", old.get("meets_wish")) is not False, new.get("requirements_met", new.get("meets_wish")) is not False)
    return Drift(old=verdicts[0], new=verdicts[1], was_met=met[0], is_met=met[1], moves=tuple(moves))


def _own_release(answer: JsonObject) -> dict[str, object]:
    return {"plan": answer["plan_version"]} if "plan_version" in answer else {}


def _releases(answer: JsonObject) -> dict[str, object]:
    engine = json_object(answer.get("engine"))
    return {str(engine.get("name", "engine")): engine.get("version")}


def _problems(answer: JsonObject) -> Iterator[str]:
    rejection = json_object(answer.get("rejection"))
    yield from (str(json_object(problem).get("code")) for problem in (*json_list(answer.get("problems")), *([rejection] if rejection else [])))


def _servers(answer: JsonObject) -> dict[str, JsonObject]:
    """The servers by name; of a checked command the one."""
    services = [json_object(service) for service in json_list(answer.get("services"))]
    return {str(service.get("name")): service for service in services} if services else {"": answer}


def _of_server(old: JsonObject, new: JsonObject, server: str) -> Iterator[Move]:
    yield from _moved(Moved.SETTING, json_object(old.get("settings")), json_object(new.get("settings")), server)
    memory = json_object(old.get("memory")), json_object(new.get("memory"))
    lines = tuple({str(json_object(line).get("key")): json_object(line).get("bytes") for line in json_list(part.get("lines"))} for part in memory)
    yield from _moved(Moved.BYTES, lines[0], lines[1], server)
    figures = tuple({key: part[key] for key in _MEMORY if key in part} for part in memory)
    yield from (
        Move(kind=Moved.BYTES if move.name.endswith("_bytes") else Moved.FIGURE, name=move.name, old=move.old, new=move.new, server=server)
        for move in _moved(Moved.FIGURE, figures[0], figures[1], server)
    )
    speed = json_object(old.get("speed")), json_object(new.get("speed"))
    expected = tuple({key: json_object(part.get(key)).get("expected") for key in _SPEED if key in part} for part in speed)
    yield from _moved(Moved.SPEED, expected[0], expected[1], server)


def _moved(kind: Moved, old: Mapping[str, object], new: Mapping[str, object], server: str) -> Iterator[Move]:
    """What both have and is not the same."""
    for name, value in old.items():
        if name in new and new[name] != value:
            yield Move(kind=kind, name=name, old=value, new=new[name], server=server)


def _commands(answer: JsonObject) -> dict[str, list[str]]:
    said = [json_object(command) for command in json_list(answer.get("commands"))]
    return {str(command.get("service", "")): [str(word) for word in json_list(command.get("argv"))] for command in said}


def _words_moved(kind: Moved, old: Mapping[str, list[str]], new: Mapping[str, list[str]]) -> Iterator[Move]:
    """Flags of the same server's command that came, went or have another value."""
    for name, words in old.items():
        before, after = _flags(words), _flags(new.get(name, words))
        for flag in dict.fromkeys((*before, *after)):
            if before.get(flag) != after.get(flag):
                yield Move(kind=kind, name=flag, old=before.get(flag), new=after.get(flag), server=name if len(old) > 1 else "")


def _flags(words: list[str]) -> dict[str, str]:
    """A command's flags with what follows them; its other words under the empty name."""
    flags: dict[str, list[str]] = {"": []}
    at = ""
    for word in words:
        if word.startswith("-"):
            at, equals, value = word.partition("=")
            flags[at] = [value] if equals else []
        else:
            flags[at].append(word)
    return {flag: " ".join(values) for flag, values in flags.items()}
