"""The names of GPUs: how they are compared, and which one a person may have meant."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from planner.catalogue.rows import GpuRow
from planner.errors import nearest


def gpu_key(name: str) -> str:
    """The form in which GPU names are compared: "NVIDIA RTX 4090" and "rtx-4090" are one."""
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"^(nvidia)?(geforce|tesla|amdinstinct|amd|instinct)?", "", key) or key


def sized_name(row: GpuRow) -> str:
    """A Mac's name as it is typed, with one of its sizes."""
    return f"{row.name.removeprefix('apple-')}-{row.memory_options_gb[len(row.memory_options_gb) // 2]}gb"


def gpu_keys(row: GpuRow) -> set[str]:
    """All names of a GPU as they are compared."""
    return {gpu_key(word) for word in (row.name, row.title, *row.aliases)}


def near_gpu(name: str, rows: Iterable[GpuRow]) -> str:
    """The names that one may have meant to type: with the same digits, or one more or less; another number is another card."""
    wanted = gpu_key(name)
    if re.search("laptop|mobile|maxq", wanted):
        return "laptop GPUs are not: they are slower and smaller than the cards of the same name"
    keys = {gpu_key(alias): row.name for row in rows for alias in (row.name, *row.aliases)}
    found = [keys[key] for key in nearest(wanted, keys, cutoff=0.75) if _same_number(wanted, key)]
    return f"did you mean {', '.join(dict.fromkeys(found))}?" if found else ""


def _same_number(one: str, other: str) -> bool:
    """Whether the digits are the same in another order, one more or less, or differ in the last alone."""
    first, second = ("".join(character for character in key if character.isdigit()) for key in (one, other))
    odd = (Counter(first) - Counter(second)) + (Counter(second) - Counter(first))
    return odd.total() <= 1 or (len(first) > 1 and first[:-1] == second[:-1])
