"""The table of `ollama ps`: which models are loaded, what they take, how much of it lies in main memory.

Source: ollama @fb307609 cmd/cmd.go ListRunningHandler: sizes in decimal units, shares rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from planner.facts.observed import Cause, Observed
from planner.text import shown

_ROW = re.compile(
    r"^(?P<name>\S{1,200})\s+(?P<id>[0-9a-f]{12})\s+(?P<size>[\d.]+)\s?(?P<unit>[KMGT]?B)\s+"
    r"(?:(?P<cpu>\d{1,3})%/\d{1,3}% CPU/GPU|(?P<whole>100% (?:CPU|GPU)))\s+(?:(?P<context>\d{1,9})\s+)?\S"
)
_SHARE = re.compile(r"^(?P<cpu>\d{1,3})%/(?P<gpu>\d{1,3})% CPU/GPU$")  # the column alone, as people paste it
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def read_table(lines: Iterable[str]) -> Observed | None:
    """The first model of the table that is partly in main memory, else the first; None where there is no table."""
    lines = [*lines]
    rows = [match for line in lines if (match := _ROW.match(line.strip()))]
    if not rows:
        return _column(lines)
    row = next((row for row in rows if row["cpu"] or row["whole"] == "100% CPU"), rows[0])
    seen = Observed(engine="ollama", model=row["name"], started=True)
    seen.used_bytes = int(float(row["size"]) * _UNITS[row["unit"]]) if row["size"].count(".") <= 1 and row["size"] != "." else None
    if row["context"]:
        seen.flags["ctx_size"] = int(row["context"])
    share = int(row["cpu"] or (100 if row["whole"] == "100% CPU" else 0))
    seen.flags["cpu_percent"] = share
    if share:
        seen.host_bytes = seen.used_bytes * share // 100 if seen.used_bytes else None
        seen.root_cause = Cause("layers-on-cpu", f"{share} % of {shown(row['name'])} ({row['size']} {row['unit']}) lies in main memory and runs on the CPU")
    return seen


def _column(lines: Iterable[str]) -> Observed | None:
    """What the column of the shares says by itself."""
    match = next((match for line in lines if (match := _SHARE.match(line.strip()))), None)
    if match is None or int(match["cpu"]) + int(match["gpu"]) != 100:
        return None
    cause = Cause("layers-on-cpu", f"{match['cpu']} % of the model lies in main memory and runs on the CPU")
    return Observed(engine="ollama", started=True, flags={"cpu_percent": int(match["cpu"])}, root_cause=cause)
