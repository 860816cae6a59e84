"""What a JSON or YAML file holds before anything is known of it; a large one of ours, of which a command reads a few lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
_LINE = re.compile(rb'("(?:[^"\\]|\\.)*"):(.*)')  # a name may hold a quotation mark and a colon itself
JsonObject: TypeAlias = "dict[str, JsonValue]"


def json_object(value: object) -> JsonObject:
    """The object that a value is; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def json_list(value: object) -> list[JsonValue]:
    """The list that a value is; an empty one for anything else."""
    return value if isinstance(value, list) else []


class Lines(Mapping[str, object]):
    """An object with a name and its value a line, `"name":VALUE,`: one is looked for and parsed where it is asked for, all are found once they are listed.

    They are the lines behind the end of line at `start`, up to `end`.
    """

    def __init__(self, text: bytes, start: int = 0, end: int | None = None) -> None:
        self._text, self._start, self._end = text, start, len(text) if end is None else end

    @cached_property
    def _lines(self) -> dict[str, bytes]:
        found = map(_LINE.match, self._text[self._start : self._end].splitlines())
        return {json.loads(line[1]): line[2] for line in found if line}

    def __getitem__(self, name: str) -> object:
        value: object = json.loads((self._lines[name] if "_lines" in vars(self) else self._line(name)).rstrip(b","))
        return value

    def _line(self, name: str) -> bytes:
        mark = f"\n{json.dumps(name)}:".encode()
        start = self._text.find(mark, self._start, self._end)
        if start < 0:
            raise KeyError(name)
        start += len(mark)
        end = self._text.find(b"\n", start, self._end)
        return self._text[start : end if end >= 0 else self._end]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)
