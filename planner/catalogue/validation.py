"""pydantic at the door of what people write: catalogue rows, prices. Imported where such a file is read, never for the shipped catalogues."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

Location = tuple[int | str, ...]
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
_CAPABILITY = re.compile(r"\d+\.\d\Z")


@cache
def adapter(row_type: type) -> TypeAdapter[Any]:
    """The validator of a kind of row."""
    return TypeAdapter(row_type)


def first_fault(data: Any, row_type: type) -> tuple[Location, str] | None:
    """Where and why a row is wrong; None for a good one."""
    try:
        adapter(row_type).validate_json(
            json.dumps(data, default=lambda value: [str(value)])
        )  # strict JSON: objects become rows, numbers stay numbers, a date is no text
    except ValidationError as error:
        first = error.errors()[0]
        return first["loc"], first["msg"]
    if not _NAME.match(data["name"]):
        return ("name",), "expected lower case letters, digits, dots and dashes"
    if not _CAPABILITY.match(data.get("compute_capability") or "0.0"):
        return ("compute_capability",), "expected MAJOR.MINOR, like '8.9'"
    for key, value in data.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
            return (key,), f"{value} is not above zero"
    return None
