"""How vLLM reads the value of a flag, and why it refuses one.

Mirrors vLLM 0.33: utils/argparse_utils.py human_readable_int (28), human_readable_int_or_auto (67); engine/arg_utils.py parse_type (152),
optional_type (164), union_dict_and_str (173), _expand_json_human_readable_numbers (292), parse_dataclass (369, pydantic, no unknown keys).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TypedDict

from planner.errors import BadValueError

_DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_ADAPTER_KEYS = frozenset(["name", "path", "base_model_name", "is_3d_lora_weight"])  # LoRAModulePath
_TRUE_OR_FALSE = frozenset(["0", "off", "f", "false", "n", "no", "1", "on", "t", "true", "y", "yes"])  # what pydantic takes for a boolean


class Bounds(TypedDict, total=False):
    """How small and how large a number may be (the Field(ge=…, …) of vLLM's configuration classes)."""

    minimum: float
    exclusiveMinimum: float
    maximum: float
    exclusiveMaximum: float


class FieldSchema(Bounds, total=False):
    """A plain JSON Schema of one key of a flag's JSON object; `strings` are the words that it takes, `refuses` the kinds that it does not, `fields` an object's own keys."""

    type: str
    enum: list[int | str]
    const: str
    strings: list[str]
    refuses: list[str]
    null: bool
    fields: dict[str, FieldSchema]


class FlagEntry(TypedDict, total=False):
    """What flags.json says of a flag; of one that is gone no more than how many words it took."""

    takes: int | str
    """0, 1, or argparse's own word for several."""
    reads: str
    also: list[str]
    off: list[str]
    since: str
    earlier: list[tuple[str, FlagEntry]]
    """What was otherwise before a release, the oldest first; what is null there it had not."""
    optional: bool
    choices: list[str]
    append: bool
    fields: dict[str, FieldSchema]
    bounds: Bounds
    """Of its configuration class, which is made of what the parser has taken."""


def human_readable_int(text: str) -> int:
    """A whole number, also 8k (8000) or 8K (8192). Raises ValueError."""
    text = text.strip()
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT])", text):
        number, suffix = match.groups()
        if suffix in _BINARY and "." in number:
            raise BadValueError(f"no decimals before {suffix}: {number}{suffix.lower()} is a multiple of 1000")
        return int(number) * _BINARY[suffix] if suffix in _BINARY else int(float(number) * _DECIMAL[suffix])
    return int(text)


def _count_or_auto(text: str) -> str:
    return "auto" if text.strip() == "-1" or text.strip().lower() == "auto" else str(human_readable_int(text))


def _float(text: str) -> str:
    float(text)
    return text


def _json(text: str) -> str:
    try:
        json.loads(text)
    except RecursionError:
        raise BadValueError("it is nested too deeply") from None
    return text


def _json_or_text(text: str) -> str:
    return _json(text) if re.match(r"(?s)^\s*{.*}\s*$", text) else text


def _adapter(text: str) -> str:
    if text and not ("=" in text and "," not in text):
        data = json.loads(text)
        if not isinstance(data, dict) or not {"name", "path"} <= set(data) <= _ADAPTER_KEYS:
            raise BadValueError("an adapter is NAME=PATH or a JSON object with name and path")
    return text


_READ: dict[str, tuple[Callable[[str], str], str]] = {
    "int": (lambda text: str(int(text)), "a whole number"),
    "float": (_float, "a number"),
    "count": (lambda text: str(human_readable_int(text)), "a whole number, also with k, m, g (powers of 1000) or K, M, G (of 1024)"),
    "count or auto": (_count_or_auto, "a whole number such as 32768 or 32K, or auto"),
    "json": (_json, "JSON"),
    "json or text": (_json_or_text, "JSON"),
    "dashes": (lambda text: text.lower().replace("-", "_"), "text"),
    "adapters": (_adapter, "NAME=PATH or JSON"),
}


def read_value(entry: FlagEntry, text: str, *, newest: bool) -> str | None:
    """The value as vLLM understands it; None where it means none. Keys are those of the newest release. Raises BadValueError."""
    reads = entry.get("reads")
    if entry.get("optional") and (text in ("", "None") or (reads == "json" and text.strip() == "null")):
        return None
    if reads == "object":
        return _object(text, entry["fields"] if newest else None)
    if reads:
        read, expected = _READ[reads]
        try:
            text = read(text)
        except BadValueError:
            raise
        except (ValueError, OverflowError):
            raise BadValueError(f"expected {expected}" + (f", not {text[:60]!r}" if "JSON" not in expected else "")) from None
    if "choices" in entry and text not in entry["choices"]:
        raise BadValueError(f"invalid choice: {text[:60]!r} (choose from {', '.join(entry['choices'])})")
    return text


def beyond(text: str, bounds: Bounds) -> str:
    """Which bound a number breaks, in pydantic's words; empty for a word such as auto."""
    try:
        number = float(text)
    except ValueError:
        return ""
    if (least := bounds.get("minimum")) is not None and number < least:
        return f"Input should be greater than or equal to {least:g}, not {text[:60]}"
    if (above := bounds.get("exclusiveMinimum")) is not None and number <= above:
        return f"Input should be greater than {above:g}, not {text[:60]}"
    if (most := bounds.get("maximum")) is not None and number > most:
        return f"Input should be less than or equal to {most:g}, not {text[:60]}"
    if (below := bounds.get("exclusiveMaximum")) is not None and number >= below:
        return f"Input should be less than {below:g}, not {text[:60]}"
    return ""


def _object(text: str, fields: Mapping[str, FieldSchema] | None) -> str:
    """A JSON object read into a configuration class, which takes no key that it does not have."""
    parts = re.split(r'("(?:[^"\\]++|\\.)*+(?:"|\Z))', text)
    try:
        parts[::2] = [re.sub(r"\b\d+(?:\.\d+)?[kKmMgGtT]\b", lambda match: str(human_readable_int(match[0])), part) for part in parts[::2]]
        data = json.loads("".join(parts))
    except (ValueError, OverflowError, RecursionError):
        raise BadValueError("expected a JSON object") from None
    if not isinstance(data, dict):
        raise BadValueError("expected a JSON object")
    if fields is not None:
        _known_keys(data, fields)
    return "".join(parts)


def _known_keys(data: Mapping[str, object], fields: Mapping[str, FieldSchema], inside: str = "") -> None:
    """No key that a class does not have, also in the objects of its own classes that it holds; their names are told behind a dot."""
    for key, value in data.items():
        if key not in fields:
            raise BadValueError(f"it has no key {inside + key[:60]!r}")
        if not _fits(value, fields[key]):
            raise BadValueError(f"its key {inside + key!r} takes {_wanted(fields[key])}")
        if isinstance(value, dict) and "fields" in fields[key]:
            _known_keys(value, fields[key]["fields"], f"{inside}{key}.")


def _wanted(schema: FieldSchema) -> str:
    if words := schema.get("enum", schema.get("strings")):
        return f"one of {', '.join(map(str, words))}"
    if "fields" in schema and "string" in schema["refuses"]:
        return "an object"
    if "refuses" in schema:
        return f"no {schema['refuses'][0]}"
    return str(schema.get("const", schema.get("type")))


def _kind(value: object) -> str:
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", dict: "object", list: "array"}
    return kinds.get(type(value), "null")


def _fits(value: object, schema: FieldSchema) -> bool:
    """Whether pydantic reads a value as this plain JSON Schema, in its lax mode: "3" is 3, "true" is true."""
    if not schema or (value is None and schema.get("null")):
        return True
    if value is None and "fields" in schema:
        return False
    if "type" not in schema and "enum" not in schema and "const" not in schema:
        if isinstance(value, str) and "strings" in schema:
            return value.lower().replace("-", "_") in (word.replace("-", "_") for word in schema["strings"])
        if "strings" in schema and "refuses" not in schema:  # words alone; what is nothing may be set later
            return value is None
        return _kind(value) not in schema.get("refuses", ())
    if "enum" in schema:
        return value in schema["enum"]
    if "const" in schema:
        return bool(value == schema["const"])
    kind = schema["type"]
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool) or value in (0, 1) or (isinstance(value, str) and value.lower() in _TRUE_OR_FALSE)
    if not isinstance(value, int | float | str):
        return False
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return False
    whole = kind == "number" or number.is_integer()
    return whole and not beyond(str(number), schema)
