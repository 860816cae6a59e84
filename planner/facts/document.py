"""What a JSON or YAML file holds before anything is known of it."""

from __future__ import annotations

from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = "dict[str, JsonValue]"


def json_object(value: object) -> JsonObject:
    """The object that a value is; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def json_list(value: object) -> list[JsonValue]:
    """The list that a value is; an empty one for anything else."""
    return value if isinstance(value, list) else []
