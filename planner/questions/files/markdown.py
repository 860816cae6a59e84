"""The code blocks of Markdown that hold a script, a session of a shell or YAML, each as the text that a file would hold, and where it stands.

Fences are CommonMark's (spec.commonmark.org/0.31.2/#fenced-code-blocks); those of lists are indented as far as their items.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from planner.facts.record import dataclass

SUFFIXES = frozenset({".md", ".markdown"})
_SHELL = frozenset({"sh", "bash", "zsh", "shell", "console", "shell-session", "shellsession", "sh-session"})
_YAML = frozenset({"yaml", "yml"})
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*\{?\.?([\w+-]*)(.*)")
_PROMPT = re.compile(r"[ \t]*(?:\([^()\n]{1,40}\)[ \t]?)?\$[ \t]+(?=\S)")

_CONTINUED = re.compile(r"[ \t]*>[ \t]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block: `lines` and `columns` are those of the file before its text."""

    text: str
    lines: int = 0
    columns: int = 0


def is_markdown(path: Path | None) -> bool:
    """Whether a file is Markdown, by its name."""
    return path is not None and path.suffix.lower() in SUFFIXES


def blocks_of(text: str) -> Iterator[Block]:
    """The blocks of a shell and of YAML, in their order; one that nothing ends goes on to the end, as it is shown."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        opened = _FENCE.fullmatch(lines[at])
        at += 1
        if opened is None or (opened[2][0] == "`" and "`" in opened[4]):
            continue
        begin, columns, language = at, len(opened[1]), opened[3].lower()
        ends = re.compile(rf"[ \t]*{re.escape(opened[2])}{re.escape(opened[2][0])}*[ \t]*")
        while at < len(lines) and not ends.fullmatch(lines[at]):
            at += 1
        if language in _SHELL | _YAML:
            inner = [_outdented(line, columns) for line in lines[begin:at]]
            yield Block(text="\n".join(inner if language in _YAML else _typed(inner)), lines=begin, columns=columns)
        at += 1


def _outdented(line: str, columns: int) -> str:
    return line[min(columns, len(line) - len(line.lstrip(" \t"))) :]


def _typed(lines: list[str]) -> list[str]:
    """What was typed into a session with prompts, at the columns where it stands: what was printed is left blank. Without a prompt all of it is a script."""
    if not any(_PROMPT.match(line) for line in lines):
        return lines
    typed: list[str] = []
    for line in lines:
        goes_on = typed[-1:] != [] and typed[-1].endswith("\\")
        begins = (_CONTINUED if goes_on else _PROMPT).match(line)
        if begins:
            typed.append(" " * begins.end() + line[begins.end() :])
        else:
            typed.append(line if goes_on or line.lstrip().startswith("# plan:") else "")
    return typed
