"""Official and public commands with their flags mutated, before vLLM itself: `python -m benchmarks.command_mutants [COUNT [SEED]]` lists what we say otherwise.

A mutant is a command that people run (tests/data/vllm_recipes_commands.jsonl, field_vllm.yaml) with one to three changes: another spelling, a dash or an
equals sign, a switch negated, an object written with dots or a broken one, a flag twice, a wrong choice or type, a number out of bounds, a flag that is
none. vLLM's parser and configuration classes take it or not, on eight H100; so does `plan check`, but for what memory decides.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import yaml

from benchmarks.crossing import CANNOT_SAY, MEMORY
from benchmarks.judge_rows import GPU, Row, ask
from benchmarks.recipes import DATA
from planner.catalogue import load, resolve
from planner.engines.vllm.flags import flag_table, known_flags
from planner.engines.vllm.judged import judge
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.facts.hardware import GpuGroup

FIELD = DATA.parent / "field_vllm.yaml"
FLAGS: dict[str, Any] = dict(flag_table()["flags"])
NUMBERS = ("0", "-1", "1", "2", "3", "7", "64", "100000", "1000000000", "2k", "2K", "1.5", "0.5", "1e3", "x", "", "None", "auto", "nan", "-0.5", " 8 ")
WORDS = ("x", "", "None", "none", "auto", "true", "1", "{}", "a=b", "AUTO", "/nosuch/file", "default")
OBJECTS = ("{}", "x", "", "null", "[]", '{"nothing": 1}', "{", "3", '"a"', "None", "true")
_NO_FILES = (
    "--chat-template",
    "--reasoning-parser-plugin",
    "--tool-parser-plugin",
    "--config",
    "--model",
    "--tokenizer",
    "--hf-config-path",
    "--revision",
)  # of folders that the judge has not
_REMEMBERED = ("--enable-return-routed-experts",)  # the judge answers as if the questions after it said so too
# What the judge lacks or a server has: folders, tokenizers, files of Mistral's own, and keys that decide no size and stand in no row of the catalogue.
_ELSEWHERE = re.compile(
    r"huggingface|No such file|does not appear to have a file|Can't load|couldn't connect|Repo id|not a valid model identifier|safetensors|tokenizer"
    r"|text_config extracted from the model config|per-layer attribute|^'full_attn_layers'|cumem allocator|list index out of range|Could not load logging config",
    re.IGNORECASE,
)
_LATER = ("not-divisible", "unsupported")  # what the model's class refuses, which is not asked here


def commands() -> list[tuple[str, ...]]:
    """The words after `vllm serve` of every command of vLLM whose model stands in the catalogue with its config."""
    found = [tuple(word for text in json.loads(line)["argv"][2:] for word in _split(text)) for line in DATA.read_text().splitlines()]
    for row in yaml.safe_load(FIELD.read_text()):
        words = shlex.split(str(row["command"]))
        if words[:2] == ["vllm", "serve"]:
            found.append(tuple(words[2:]))
    return sorted({words for words in map(_without_files, found) if entry_of(words[0])})


def _without_files(words: Sequence[str]) -> tuple[str, ...]:
    """The same without what names files of images and folders that are not here."""
    kept = [words[:1], *(piece for piece in pairs(words[1:]) if piece[0].partition("=")[0] not in _NO_FILES)]
    return tuple(word for piece in kept for word in piece)


def _split(text: str) -> list[str]:
    """A word as the recipes' site shows it: a flag with its value in one string stands there as two words."""
    return shlex.split(text) if text.startswith("--") and " " in text else [text]


def entry_of(name: str) -> load.Entry | None:
    """The catalogue's entry of a repository."""
    return load.find_model(name) if "/" in name else None


def mutated(words: Sequence[str], random: Random) -> list[str]:
    """The same with one to three changes."""
    model, pieces = words[0], list(pairs(words[1:]))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        random.choices((_respelled, _valued, _added, _dropped, _repeated), weights=(1, 5, 8, 1, 1))[0](pieces, random)
    return [model, *(word for piece in pieces for word in piece)]


def pairs(words: Sequence[str]) -> Iterator[list[str]]:
    """Flags with their values."""
    piece: list[str] = []
    for word in words:
        if word.startswith("-") and not re.match(r"-\d", word):
            if piece:
                yield piece
            piece = [word]
        else:
            piece.append(word)
    if piece:
        yield piece


def entry_of_flag(word: str) -> tuple[str, dict[str, Any]]:
    """The flag that a word writes, with what it takes."""
    flag = known_flags().get(word.partition("=")[0].partition(".")[0], "")
    return flag, FLAGS.get(flag, {})


def _respelled(pieces: list[list[str]], random: Random) -> None:
    """One flag written in another way, right or wrong."""
    if not pieces:
        return
    index = random.randrange(len(pieces))
    head, *rest = pieces[index]
    flag, entry = entry_of_flag(head)
    ways = [
        [head.replace("-", "_").replace("__", "--", 1) if head.startswith("--") else head, *rest],
        [random.choice([flag or head, *entry.get("also", ())]), *rest],
        [head[: random.randrange(3, len(head) + 1)] if len(head) > 3 else head, *rest],
        [head.replace("--", random.choice(("--no-", "--disable-", "--enable-")), 1), *rest],
        [head[:-1] + random.choice("sx"), *rest],
        [head.upper(), *rest],
        [f"-{head}", *rest],
        [f"{head}={rest[0]}" if rest and "=" not in head else head, *rest[1:]],
    ]
    if rest and rest[0].startswith("{"):
        ways += [dotted] if (dotted := _dotted(head, rest[0])) else []
    pieces[index] = random.choice(ways)


def _dotted(head: str, text: str) -> list[str]:
    """An object as its keys behind dots."""
    try:
        data = json.loads(text)
    except ValueError:
        return []
    return [word for key, value in data.items() for word in (f"{head}.{key}", value if isinstance(value, str) else json.dumps(value))]


def value_for(entry: dict[str, Any], random: Random) -> list[str]:
    """A value of a flag, right or wrong; none of a switch, mostly."""
    if entry.get("takes") == 0:
        return [random.choice(("true", "false"))] if random.random() < 0.05 else []
    reads = entry.get("reads", "")
    if "choices" in entry:
        chosen = random.choice([*entry["choices"], *entry["choices"], *WORDS])
        return [chosen.upper() if random.random() < 0.1 else chosen]
    if reads in ("int", "float") or str(reads).startswith("count"):
        return [random.choice(NUMBERS)]
    if reads == "object":
        return [_object(entry["fields"], random)]
    return [random.choice(OBJECTS if "json" in str(reads) else WORDS)]


def _object(fields: dict[str, Any], random: Random) -> str:
    if random.random() < 0.2 or not fields:
        return random.choice(OBJECTS)
    data: dict[str, Any] = {}
    for key in random.sample(sorted(fields), k=min(len(fields), random.choice((1, 1, 2)))):
        words = [*fields[key].get("enum", ()), *fields[key].get("strings", ())]
        data[key] = random.choice([*words, *words, True, False, None, 0, 1, -1, 4, 0.5, "x", "2", [], [1, 2], {}])
    return json.dumps(data)


def _valued(pieces: list[list[str]], random: Random) -> None:
    """One flag with another value."""
    valued = [index for index, piece in enumerate(pieces) if entry_of_flag(piece[0])[1].get("takes", 0) != 0 and entry_of_flag(piece[0])[0] not in _NO_FILES]
    if not valued:
        return _added(pieces, random)
    index = random.choice(valued)
    pieces[index] = [pieces[index][0].partition("=")[0], *value_for(entry_of_flag(pieces[index][0])[1], random)]
    return None


def _added(pieces: list[list[str]], random: Random) -> None:
    """One flag more."""
    flag = random.choice([name for name in FLAGS if name not in (*_NO_FILES, *_REMEMBERED)])
    entry = FLAGS[flag]
    value = value_for(entry, random)
    spelled = random.choice([flag, flag, *entry.get("also", ())])
    pieces.append([f"{spelled}={value[0]}"] if len(value) == 1 and random.random() < 0.2 else [spelled, *value])


def _dropped(pieces: list[list[str]], random: Random) -> None:
    """One flag or its value less."""
    if pieces:
        index = random.randrange(len(pieces))
        pieces[index] = pieces[index][:1] if random.random() < 0.5 else []
        if not pieces[index]:
            del pieces[index]


def _repeated(pieces: list[list[str]], random: Random) -> None:
    """One flag twice."""
    if pieces:
        pieces.insert(random.randrange(len(pieces) + 1), list(random.choice(pieces)))


def mutants(count: int, seed: int) -> list[list[str]]:
    """So many commands that nobody has seen."""
    random, known = Random(seed), commands()
    by_model: dict[str, list[tuple[str, ...]]] = {}
    for words in known:
        by_model.setdefault(words[0], []).append(words)
    names = sorted(by_model)
    return [mutated(random.choice(by_model[random.choice(names)]), random) for _ in range(count)]


def question(words: Sequence[str]) -> Row:
    """What the judge is asked."""
    entry = entry_of(words[0])
    assert entry
    return {"config": entry.config, "hf_quant": entry.hf_quant, "argv": ["vllm", "serve", *words]}


def refused(words: Sequence[str], later: bool) -> list[str]:
    """What `plan check` refuses of a command, but for memory; `later`: also what the model's class refuses."""
    group = GpuGroup(gpu=load.find_gpu(GPU), count=8)
    try:
        checked = judge(Command(engine="vllm", words=tuple(words)), group, resolve)
    except PlannerError as error:
        return [str(error)]
    return [problem.message for problem in checked.problems if problem.code not in (MEMORY if later else (*MEMORY, *_LATER))]


def unsure(words: Sequence[str]) -> bool:
    """Whether `plan check` names a part that it does not hold: then it is not sure of a start."""
    checked = judge(Command(engine="vllm", words=tuple(words)), GpuGroup(gpu=load.find_gpu(GPU), count=8), resolve)
    return bool(checked.not_covered)


def difference(words: Sequence[str], theirs: Row) -> str:
    """What we say otherwise, or nothing."""
    said = refused(words, later=not theirs["valid"])
    if theirs["valid"] == (not said):
        return ""
    if not theirs["valid"] and (CANNOT_SAY.search(theirs["error"]) or _ELSEWHERE.search(theirs["error"]) or unsure(words)):
        return ""
    return f"we refuse: {said[0]}" if said else f"vLLM refuses: {theirs['error'][:400]}"


def main(arguments: Sequence[str]) -> None:
    """Ask and print."""
    count, seed = (int(number) for number in [*arguments, "3000", "0"][:2]) if len(arguments) != 1 else (int(arguments[0]), 0)
    asked = mutants(count, seed)
    answers = ask([question(words) for words in asked])
    lines = [f"{shlex.join(words)}\n    {told}" for words, theirs in zip(asked, answers, strict=True) if (told := difference(words, theirs))]
    print(*lines, f"{len(lines)} of {count} otherwise ({sum(not answer['valid'] for answer in answers)} refused by vLLM), seed {seed}", sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
