"""Where a server stands in the text that it was found in, and where one of its flags does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from planner.facts.command import Command
from planner.facts.finding import Place

WINDOW = 80  # lines that a command is looked for behind its beginning
_FLAG = re.compile(r"--[A-Za-z][\w-]*")
_MOST_WORDS = 24


def placed(commands: Sequence[Command], text: str) -> list[Command]:
    """The servers of a text, in the order in which they were found, each with the line and column where it begins."""
    lines = text.splitlines()
    after, found_at = 0, []
    for command in commands:
        place = _begin(command, lines, after)
        found_at.append(replace(command, line=place.line, column=place.column))
        after = place.line  # the next one begins below, where it can be seen
    return found_at


def _begin(command: Command, lines: Sequence[str], after: int) -> Place:
    """The line from which most of a command's words follow; what variables stand for is not among them."""
    anchors = [word for word in (*command.program[-1:], *command.words[:2]) if len(word) > 2]
    words = [word for word in dict.fromkeys(command.words[:_MOST_WORDS]) if len(word) > 1]
    for anchor in anchors:
        starts = [number for number, line in enumerate(lines) if anchor in line and not line.lstrip().startswith("#")]
        if starts:
            best = max(starts, key=lambda number: (_held(words, lines[number : number + WINDOW]), number >= after, -number))
            return Place(line=best + 1, column=lines[best].index(_first(command, lines[best], anchor)) + 1)
    return Place(line=min(after + 1, max(1, len(lines))))


def _held(words: Sequence[str], lines: Sequence[str]) -> int:
    """How many words follow one another from here; the first that does not is passed over."""
    count, at, text = 0, 0, "\n".join(lines)
    for word in words:
        if (begin := text.find(word, at)) >= 0:
            count, at = count + 1, begin + len(word)
    return count


def _first(command: Command, line: str, anchor: str) -> str:
    """The first word of a command that stands on its line."""
    return next((word for word in command.program if len(word) > 2 and word in line), anchor)


def flag_place(command: Command, text: str, *said: str, end: int | None = None) -> Place:
    """Where the flag stands that one of these texts names, else where the command begins; `end` is the line of the next one."""
    lines = text.splitlines()
    begin = max(command.line, 1) - 1
    last = min(len(lines), begin + WINDOW, end - 1 if end and end > begin + 1 else len(lines))
    for flag in dict.fromkeys(flag for words in said for flag in _FLAG.findall(words)):
        first, *rest = re.split("[-_]", flag[2:])
        key = re.escape(first + "".join(map(str.capitalize, rest)))  # as charts write it: maxModelLen:
        spelled = re.compile(rf"(?<![\w-])(?:--{'[-_]'.join(map(re.escape, (first, *rest)))}(?![\w-])|{key}(?=[ \t]*:))")
        for number in range(begin, last):
            if match := spelled.search(lines[number]):
                return Place(line=number + 1, column=match.start() + 1)
    return Place(line=max(command.line, 1), column=max(command.column, 1))
