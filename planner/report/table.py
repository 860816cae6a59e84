"""A table for any width: what does not fit beside the rest goes below its row, whole. Nothing is cut, no word to type is broken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from planner.facts.record import dataclass

GAP, INDENT = 2, 4


@dataclass(frozen=True, slots=True)
class Column:
    """A column; the one with the highest number leaves the row first, those with 0 never do."""

    name: str
    priority: int = 0
    is_left: bool = False
    style: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of a row, and texts that always stand below it."""

    cells: Sequence[str | Text]
    below: Sequence[str | Text | Typed] = ()


_TYPED = re.compile(r"""(?:'[^']*'|"[^"]*"|\S)+""")


@dataclass(frozen=True, slots=True)
class Typed:
    """Words to type, indented: where they go on in the next line a backslash says so to the shell too, so that they can be pasted."""

    words: str
    indent: int = INDENT

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines, none of them wider than the options say."""
        room = options.max_width - self.indent
        if cell_len(self.words) <= room:
            yield _indented(Text(self.words, "bold"), self.indent)
            return
        lines = [""]
        for part in self._parts(room - 2):
            if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(part) > room - 2:
                lines.append("")
            lines[-1] += f"{' ' if lines[-1] else ''}{part}"
        for number, line in enumerate(lines):
            yield _indented(Text(line if number + 1 == len(lines) else f"{line} \\", "bold"), self.indent)

    def _parts(self, room: int) -> list[str]:
        """The words; a flag stays with its value where both fit one line."""
        parts: list[str] = []
        flag = False
        for word in _TYPED.findall(self.words):
            if flag and not word.startswith("-") and cell_len(parts[-1]) + 1 + cell_len(word) <= room:
                parts[-1] += f" {word}"
                flag = False
            else:
                parts.append(word)
                flag = word.startswith("--")
        return parts


class Fitted:
    """The table as rich renders it, at the width there is."""

    def __init__(self, columns: Sequence[Column], rows: Sequence[Row], title: str = "") -> None:
        self.columns, self.title = columns, title
        self.rows = [
            Row(
                [_text(cell, column.style) for cell, column in zip(row.cells, columns, strict=True)],
                [text if isinstance(text, Typed) else _text(text) for text in row.below],
            )
            for row in rows
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines, none of them wider than the options say."""
        width = options.max_width
        kept, widths = self._layout(width)
        if self.title:
            yield from _wrapped([Text(self.title, "bold")], width, 0)
        heads = [Text(self.columns[index].name, "dim") for index in kept]
        yield self._line(heads, kept, widths)
        for row in self.rows:
            cells = [_text(cell) for cell in row.cells]
            yield self._line([cells[index] for index in kept], kept, widths)
            moved = [
                Text.assemble((f"{column.name} ", "dim"), cells[index])
                for index, column in enumerate(self.columns)
                if index not in kept and cells[index].plain and any(_text(other.cells[index]).plain for other in self.rows)
            ]
            yield from _wrapped(moved, width, INDENT)
            for text in row.below:
                yield from (text,) if isinstance(text, Typed) else _wrapped([_text(text)], width, INDENT)

    def _layout(self, width: int) -> tuple[list[int], dict[int, int]]:
        """Which columns stay in the row, and how wide each is."""
        widths = {
            index: max([cell_len(column.name), *(cell_len(_text(row.cells[index]).plain) for row in self.rows)]) for index, column in enumerate(self.columns)
        }
        kept = [index for index in widths if any(_text(row.cells[index]).plain for row in self.rows)]  # an empty column says nothing
        while sum(widths[index] + GAP for index in kept) - GAP > width and len(kept) > 1:
            last = max(kept[1:], key=lambda index: (self.columns[index].priority, index))
            kept.remove(last)
        return kept, widths

    def _line(self, cells: Iterable[Text], kept: Sequence[int], widths: dict[int, int]) -> Text:
        line = Text(no_wrap=True, overflow="ignore")
        for place, (index, cell) in enumerate(zip(kept, cells, strict=True)):
            space = " " * (widths[index] - cell_len(cell.plain))
            line.append(" " * GAP if place else "")
            if self.columns[index].is_left:
                line.append_text(cell).append(space if index != kept[-1] else "")
            else:
                line.append(space).append_text(cell)
        line.rstrip()
        return line


def _text(cell: str | Text, style: str = "") -> Text:
    return cell.copy() if isinstance(cell, Text) else Text(cell, style)


def _wrapped(items: Sequence[Text], width: int, indent: int) -> Iterator[Text]:
    """Items one after the other, each whole on a line where it fits one; a longer one is divided at its spaces."""
    line = Text()
    for item in items:
        gap = GAP if line.plain else 0
        if line.plain and cell_len(line.plain) + gap + cell_len(item.plain) > width - indent:
            yield _indented(line, indent)
            line, gap = Text(), 0
        if cell_len(item.plain) <= width - indent:
            line = line.append(" " * gap).append_text(item)
            continue
        for word in item.split(" "):
            if line.plain and cell_len(line.plain) + 1 + cell_len(word.plain) > width - indent:
                yield _indented(line, indent)
                line = Text()
            line = line.append(" " if line.plain else "").append_text(word)
    if line.plain:
        yield _indented(line, indent)


def _indented(line: Text, indent: int) -> Text:
    return Text(" " * indent, no_wrap=True, overflow="ignore").append_text(line)
