"""A report's pieces as plain blocks, which a template turns into HTML: the same words, tables and commands as in a terminal, nothing computed anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from planner.facts.record import dataclass
from planner.report.table import Column, Fitted, Grid, Typed
from planner.report.text import Piece, Text
from planner.text import redact_known

_TONES = {"green": "good", "yellow": "warn", "red": "bad", "bold": "bold", "dim": "soft"}


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text in one style; `tone` is a class of the style sheet."""

    text: str
    tone: str = ""


Cell = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """A column's name, and whether it holds numbers."""

    name: str
    is_number: bool


@dataclass(frozen=True, slots=True)
class Line:
    """The cells of a row, and what stands below it."""

    cells: tuple[Cell, ...]
    below: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A paragraph, a command of a server, words to type to `plan`, or a table."""

    kind: Literal["text", "command", "typed", "table"]
    spans: Cell = ()
    title: str = ""
    head: tuple[Head, ...] = ()
    rows: tuple[Line, ...] = ()
    lead: int = 0
    """The column that says what a row is about."""

    @property
    def plain(self) -> str:
        """Its words without styles."""
        return "".join(span.text for span in self.spans)


def blocks(pieces: Iterable[Piece]) -> tuple[Block, ...]:
    """The blocks of a report; empty lines are the style sheet's business."""
    return tuple(block for piece in pieces for block in _of(piece))


def _of(piece: Piece) -> Iterator[Block]:
    if isinstance(piece, Typed):
        yield Block(kind="typed", spans=(Span(piece.words),))
    elif isinstance(piece, Text):
        if spans := _spans(piece):
            yield Block(kind="command" if piece.is_whole else "text", spans=spans)
    elif isinstance(piece, Fitted):
        yield _fitted(piece)
    elif isinstance(piece, Grid):
        yield _grid(piece)
    else:
        raise TypeError(f"a report of {type(piece).__name__} has no form as HTML")


def _spans(text: Text) -> Cell:
    spans = [Span(redact_known(words), " ".join(_TONES[word] for word in style.split() if word in _TONES)) for words, style in text.spans]
    return tuple(spans) if text.plain.strip() else ()


def _fitted(table: Fitted) -> Block:
    kept = [index for index in range(len(table.columns)) if any(cells[index].plain for cells in table.cells)]
    rows = tuple(
        Line(tuple(_spans(cells[index]) for index in kept), tuple(block for text in below for block in _of(text)))
        for cells, below in zip(table.cells, table.below, strict=True)
    )
    columns = [table.columns[index] for index in kept]
    lead = next((place for place, column in enumerate(columns) if "bold" in column.style), 0)
    return Block(kind="table", title=table.title, head=_heads(columns), rows=rows, lead=lead)


def _grid(grid: Grid) -> Block:
    has_head = any(column.name for column in grid.columns)
    rows = grid.rows[1:] if has_head else grid.rows
    return Block(kind="table", head=_heads(grid.columns), rows=tuple(Line(tuple(map(_spans, row))) for row in rows))


def _heads(columns: Sequence[Column]) -> tuple[Head, ...]:
    return tuple(Head(column.name, not column.is_left) for column in columns)
