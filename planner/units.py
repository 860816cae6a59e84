"""Byte units and integer arithmetic: the only place that knows 1 GB != 1 GiB."""

from __future__ import annotations

import re
from collections.abc import Callable

from planner.arrays import Whole

MIB = 1024**2
GIB = 1024**3
GB = 10**9
CONTEXT_STEP = 1024  # tokens: a context that is solved for is a whole number of these

_SUFFIXES = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "K": 2**10,
    "M": 2**20,
    "G": 2**30,
    "T": 2**40,
}
_NUMBER = re.compile(r"(\d{1,30}(?:\.\d{1,30})?)([kmgtKMGT]?)(?:iB)?\Z", re.ASCII)
MOST = 1 << 60  # of bytes or tokens; what is larger is a slip


def counted(number: int, noun: str) -> str:
    """So many of something: 1 user, 2 users, 1,200 users."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def usd(amount: float) -> str:
    """Money as it was said, with cents: 0.30, 1,900, 0.0089."""
    whole, _, cents = f"{amount:,.10g}".partition(".")
    return f"{whole}.{cents:0<2}" if cents else whole


def ceil_div(numerator: Whole, denominator: int) -> Whole:
    """Return numerator / denominator rounded up."""
    return -(-numerator // denominator)


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is not below `value`."""
    return ceil_div(value, multiple) * multiple


def parse_count(text: str) -> int:
    """Read a number of tokens or bytes in a vLLM command, as vLLM does: 128K = 131072, 128k = 128000.

    Source: vLLM 0.33 `engine/arg_utils.py` human_readable_int (run in the oracle).
    Raises ValueError for anything else.
    """
    return _scaled(text, text, "131072, 128K (=131072) or, in a command, 128k (=128000)")


def parse_context(text: str) -> int:
    """Read a number of tokens that a person asks for; people write 128k and mean 131072, so k and K are both 1024. Raises ValueError."""
    return _scaled(text, text.upper().replace("IB", "iB"), "131072 or 128k (=131072)")


def parse_size(text: str) -> int:
    """Read bytes that a person asks for: 8G, 8GiB and 8g are one. Raises ValueError."""
    return _scaled(text, text.upper().replace("IB", "iB"), "8589934592 or 8GiB (=8589934592)")


def _scaled(text: str, spelled: str, example: str) -> int:
    match = _NUMBER.match(spelled.strip())
    if match is None:
        raise ValueError(f"{text[:60]!r} is not a number like {example}")
    number, suffix = match.groups()
    scaled = float(number) * _SUFFIXES[suffix] if "." in number else int(number) * _SUFFIXES[suffix]
    if scaled != int(scaled):
        raise ValueError(f"{text[:60]!r} is not a whole number")
    if scaled > MOST:
        raise ValueError(f"{text[:60]!r} is more than any machine holds")
    return int(scaled)


_SECONDS = r"(\d{1,12}(?:\.\d{1,12})?)\s*(ms|s|m|min|)\Z"


def parse_seconds(text: str) -> float:
    """Read a time: 2s, 50ms, 1.5 (seconds), 1min. Raises ValueError for anything else, and for none at all."""
    match = re.match(_SECONDS, text.strip().lower(), re.ASCII)
    if match is None or not float(match[1]):
        raise ValueError(f"{text[:60]!r} is not a time like 2s, 50ms or 1.5 (seconds)")
    return float(match[1]) * {"ms": 1e-3, "m": 60.0, "min": 60.0}.get(match[2], 1.0)


def gib(size_bytes: int) -> str:
    """Print a size in GiB with two decimals, the sign kept (a deficit stays negative)."""
    return f"{size_bytes / GIB:.2f} GiB"


def tokens(count: int) -> str:
    """Print a number of tokens with thousands separators."""
    return f"{count:,}"


def largest(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest number from 0 to `limit` that fits, where whatever is smaller than a fitting one fits too; 0 is taken to fit."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
