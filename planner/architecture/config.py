"""Reading a config.json: every value typed, bounded and named when it is wrong.

A raw dict never leaves this package. A config.json comes from strangers; it may be truncated, huge,
deeply nested, or lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from planner.errors import FileError, PlannerError

MAX_CONFIG_BYTES = 16 * 1024**2  # the largest real config.json (per-layer quantization lists) is about 1 MB
MAX_SIZE = 10**7  # no published width, vocabulary or layer count comes near
MAX_LENGTH = 10**9

_MISSING = object()


class Config:
    """A section of a config.json; `path` names it in error messages."""

    def __init__(self, data: Mapping[str, object], path: str) -> None:
        self.data = data
        self.path = path

    def _fail(self, key: str, value: object, expected: str) -> PlannerError:
        shown = repr(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return FileError(self.path, f"{key} is {shown}; expected {expected}")

    def _get(self, keys: Sequence[str], default: object) -> tuple[str, object]:
        for key in keys:
            if self.data.get(key) is not None:
                return key, self.data[key]
        if default is _MISSING or default is None:
            raise FileError(self.path, f"{keys[0]} is missing", "is this a whole config.json?")
        return keys[0], default

    def has(self, key: str) -> bool:
        """Whether `key` is there and not null."""
        return self.data.get(key) is not None

    def integer(self, *keys: str, default: object = _MISSING, low: int = 1, high: int = MAX_SIZE) -> int:
        """Read a whole number in [low, high] under the first of `keys` that is there."""
        key, value = self._get(keys, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e18 or value != int(value):
            raise self._fail(key, value, "a whole number")
        if not low <= value <= high:
            raise self._fail(key, value, f"a number from {low} to {high:,}")
        return int(value)

    def largest(self, *keys: str, default: object = _MISSING, low: int = 1, high: int = MAX_SIZE) -> int:
        """Read a whole number that may be listed once for each layer: then the largest."""
        key, value = self._get(keys, default)
        if isinstance(value, list):
            return max(self.integers(key, low=low, high=high, count=1))
        return self.integer(*keys, default=default, low=low, high=high)

    def optional(self, *keys: str, low: int = 0, high: int = MAX_LENGTH) -> int | None:
        """Read a whole number, None where every key is missing or null."""
        return self.integer(*keys, low=low, high=high) if any(self.has(key) for key in keys) else None

    def number(self, *keys: str, default: object = _MISSING) -> float:
        """Read a number under the first of `keys` that is there."""
        key, value = self._get(keys, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e18:
            raise self._fail(key, value, "a number")
        return float(value)

    def flag(self, *keys: str, default: bool = False) -> bool:
        """Read true or false."""
        key, value = self._get(keys, default)
        if not isinstance(value, bool):
            raise self._fail(key, value, "true or false")
        return value

    def either(self, *keys: str, default: bool = False) -> bool:
        """Whether any of these flags is set; the default where none is there."""
        said = [self.flag(key) for key in keys if self.has(key)]
        return any(said) if said else default

    def text(self, *keys: str, default: object = _MISSING) -> str:
        """Read a string."""
        key, value = self._get(keys, default)
        if not isinstance(value, str):
            raise self._fail(key, value, "a string")
        return value

    def integers(self, key: str, low: int = 0, high: int = MAX_LENGTH, count: int = 0) -> list[int]:
        """Read a list of at least `count` whole numbers, empty where missing."""
        numbers = [Config({key: v}, self.path).integer(key, low=low, high=high) for v in self.items(key)]
        if len(numbers) < count:
            raise FileError(self.path, f"{key} has {len(numbers)} entries; expected {count}")
        return numbers

    def texts(self, *keys: str) -> list[str]:
        """Read a list of strings, empty where missing."""
        for key in keys:
            if self.has(key):
                return [Config({key: v}, self.path).text(key) for v in self.items(key)]
        return []

    def items(self, key: str) -> list[object]:
        """Read a list of anything, empty where missing."""
        _, value = self._get([key], [])
        if not isinstance(value, list) or len(value) > 100_000:
            raise self._fail(key, value, "a list")
        return cast("list[object]", value)

    def section(self, *keys: str) -> Config:
        """Read a nested object; empty where missing."""
        key, value = self._get(keys, {})
        if not isinstance(value, dict):
            raise self._fail(key, value, "an object")
        return Config(cast("dict[str, object]", value), f"{self.path}: {key}")


def parse_config(text: str | bytes, path: str) -> Config:
    """Parse the text of a config.json. Raises PlannerError for anything that is not a JSON object of sane size."""
    if len(text) > MAX_CONFIG_BYTES:
        raise FileError(path, f"{len(text):,} bytes is too large for a config.json", "the largest known has about 1 MB")
    from planner.reader import parse_json

    data = parse_json(text, path)
    if not isinstance(data, dict):
        raise FileError(path, f"expected a JSON object, found {type(data).__name__}")
    return Config(cast("dict[str, object]", data), path)
