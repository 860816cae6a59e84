"""A table for any width: what does not fit beside the rest goes below its row, whole. Nothing is cut, no word to type is broken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from planner.facts.record import dataclass
from planner.report.text import Text, cell_len, styled

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


@dataclass(frozen=True, slots=True)
class Typed:
    """Words to type, indented: where they go on in the next line a backslash says so to the shell too, so that they can be pasted."""

    words: str
    indent: int = INDENT

    def lines(self, width: int) -> Iterator[Text]:
        """The lines, none of them wider than so."""
        room = width - self.indent
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
        for word in re.findall(r"""(?:'[^']*'|"[^"]*"|\S)+""", self.words):
            if flag and not word.startswith("-") and cell_len(parts[-1]) + 1 + cell_len(word) <= room:
                parts[-1] += f" {word}"
                flag = False
            else:
                parts.append(word)
                flag = word.startswith("--")
        return parts


class Grid:
    """Columns side by side; what is too wide goes on below itself, in its column."""

    def __init__(self, columns: Sequence[Column], rows: Iterable[Sequence[str | Text]], gap: int = GAP) -> None:
        self.columns, self.gap = columns, gap
        self.rows = [[styled(cell, column.style) for cell, column in zip(row, columns, strict=True)] for row in rows]
        if any(column.name for column in columns):
            self.rows.insert(0, [Text(column.name, "dim") for column in columns])

    def lines(self, width: int) -> Iterator[Text]:
        """The lines; wider than so only where a column's longest word is."""
        widths = self._widths(width)
        for row in self.rows:
            cells = [list(cell.lines(room)) for cell, room in zip(row, widths, strict=True)]
            for number in range(max(map(len, cells))):
                line = [cell[number] if number < len(cell) else Text() for cell in cells]
                yield _beside(line, self.columns, widths, self.gap)

    def _widths(self, width: int) -> list[int]:
        """How wide each column is: the widest gives way first, down to its longest word."""
        columns = list(zip(*self.rows, strict=True))
        widths = [max(cell.width for cell in column) for column in columns]
        least = [max(cell_len(word) for cell in column for word in cell.plain.split(" ")) for column in columns]
        while sum(widths) + self.gap * (len(widths) - 1) > width and widths != least:
            widths[max((index for index in range(len(widths)) if widths[index] > least[index]), key=widths.__getitem__)] -= 1
        return widths


class Fitted:
    """The table at the width there is."""

    def __init__(self, columns: Sequence[Column], rows: Sequence[Row], title: str = "") -> None:
        self.columns, self.title = columns, title
        self.cells = [[styled(cell, column.style) for cell, column in zip(row.cells, columns, strict=True)] for row in rows]
        self.below = [[text if isinstance(text, Typed) else styled(text) for text in row.below] for row in rows]

    def lines(self, width: int) -> Iterator[Text]:
        """The lines, none of them wider than so."""
        kept, widths = self._layout(width)
        columns = [self.columns[index] for index in kept]
        if self.title:
            yield from _wrapped([Text(self.title, "bold")], width, 0)
        yield _beside([Text(column.name, "dim") for column in columns], columns, widths, GAP)
        for cells, below in zip(self.cells, self.below, strict=True):
            yield _beside([cells[index] for index in kept], columns, widths, GAP)
            moved = [index for index in range(len(cells)) if index not in kept and cells[index].plain]
            yield from _wrapped([Text(f"{self.columns[index].name} ", "dim").append(cells[index]) for index in moved], width, INDENT)
            for text in below:
                yield from text.lines(width) if isinstance(text, Typed) else _wrapped([text], width, INDENT)

    def _layout(self, width: int) -> tuple[list[int], list[int]]:
        """Which columns stay in the row, and how wide each of them is."""
        widths = [max([cell_len(column.name), *(cells[index].width for cells in self.cells)]) for index, column in enumerate(self.columns)]
        kept = [index for index in range(len(widths)) if any(cells[index].plain for cells in self.cells)]  # an empty column says nothing
        while sum(widths[index] + GAP for index in kept) - GAP > width and len(kept) > 1:
            last = max(kept[1:], key=lambda index: (self.columns[index].priority, index))
            kept.remove(last)
        return kept, [widths[index] for index in kept]


def _beside(cells: Sequence[Text], columns: Sequence[Column], widths: Sequence[int], gap: int) -> Text:
    """One line of a row; no spaces at its end."""
    line, space = Text(is_whole=True), ""
    for cell, column, width in zip(cells, columns, widths, strict=True):
        free = " " * (width - cell.width)
        if cell.plain:
            line.append(space if column.is_left else space + free).append(cell)
            space = ""
        space += (free if column.is_left or not cell.plain else "") + " " * gap
    return line


def _wrapped(items: Sequence[Text], width: int, indent: int) -> Iterator[Text]:
    """Items one after the other, each whole on a line where it fits one; a longer one is divided at its spaces."""
    line = Text()
    for item in items:
        gap = GAP if line.plain else 0
        if line.plain and line.width + gap + item.width > width - indent:
            yield _indented(line, indent)
            line, gap = Text(), 0
        if item.width <= width - indent:
            line.append(" " * gap).append(item)
            continue
        for word in item.words():
            if line.plain and line.width + 1 + word.width > width - indent:
                yield _indented(line, indent)
                line = Text()
            line.append(" " if line.plain else "").append(word)
    if line.plain:
        yield _indented(line, indent)


def _indented(line: Text, indent: int) -> Text:
    return Text(" " * indent, is_whole=True).append(line)
