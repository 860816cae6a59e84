"""What reports are made of: texts in styles, and pieces that say their lines at the width there is.

The lines are laid out here, once, for pipes and terminals alike; a terminal's are painted by Rich (`cli.printing`), which a pipe need not import.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Protocol

_SIGNS = str.maketrans("█░■", "   ")  # the ledger's; each takes one cell


class Piece(Protocol):
    """A part of a report."""

    def lines(self, width: int, /) -> Iterable[Text]:
        """Its lines, none of them wider than so many cells where its words allow it."""


class Text:
    """A text, parts of it in a style ("bold", "dim", "bold red"); longer than the width it goes on in the next line, unless it `is_whole`."""

    __slots__ = ("is_whole", "spans")

    def __init__(self, text: str = "", style: str = "", *, is_whole: bool = False) -> None:
        self.spans: list[tuple[str, str]] = [(text, style)] if text else []
        self.is_whole = is_whole

    @property
    def plain(self) -> str:
        """The text without its styles."""
        return "".join(text for text, _ in self.spans)

    @property
    def width(self) -> int:
        """The cells it takes."""
        return cell_len(self.plain)

    def append(self, text: str | Text, style: str = "") -> Text:
        """The text with another one at its end."""
        self.spans += text.spans if isinstance(text, Text) else [(text, style)] if text else []
        return self

    def words(self) -> Iterator[Text]:
        """What stands between its spaces."""
        at = 0
        for word in self.plain.split(" "):
            yield self._part(at, at + len(word))
            at += len(word) + 1

    def lines(self, width: int) -> Iterator[Text]:
        """The lines; a word that is wider than they may be stays whole."""
        at = 0
        for line in self.plain.split("\n"):
            parts = [(0, len(line))] if self.is_whole or cell_len(line) <= width else _folded(line, width)
            yield from (self._part(at + start, at + end) for start, end in parts)
            at += len(line) + 1

    def _part(self, start: int, end: int) -> Text:
        part, at = Text(), 0
        for text, style in self.spans:
            if piece := text[max(0, start - at) : max(0, end - at)]:
                part.append(piece, style)
            at += len(text)
        return part


def _folded(line: str, width: int) -> Iterator[tuple[int, int]]:
    """Where each line of a long one starts and ends: at its spaces."""
    start = end = 0
    for word in re.finditer(r"\s*+\S+", line.rstrip()):
        if end > start and cell_len(line[start : word.end()]) > width:
            yield start, end
            start = word.end() - len(word[0].lstrip())
        end = word.end()
    yield start, end


def cell_len(text: str) -> int:
    """The cells of a terminal that a text takes; Rich knows it of every script."""
    if text.isascii() or text.translate(_SIGNS).isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def styled(cell: str | Text, style: str = "") -> Text:
    """A cell as a text; the style is for one that has none."""
    return Text().append(cell) if isinstance(cell, Text) else Text(cell, style)
