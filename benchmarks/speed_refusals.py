"""Rows that state a server and what it reached, and of which no speed is said here: by class, with the reasons (docs/accuracy.md)."""

from __future__ import annotations

from collections import Counter, defaultdict

from benchmarks.speed_models import ENGINES, gpu_name, gpu_spec
from benchmarks.speed_rows import WAIT, left_out, number, prepared, rows
from planner.speed.work import gpu_kind

OURS = ("speculative decoding, data", "engine, GPU or model")  # what a row is left out for though it says all that it takes
LEAST = 20  # rows of a class


def reason(row: dict[str, str]) -> str | None:
    """Why nothing is said of a row; empty where something is, None where the row itself is at fault."""
    why = left_out(row)
    if why.startswith(OURS[0]) and "True" not in (row["spec_decode"], row["enforce_eager"]):
        return ""  # engines and stages beside each other are computed, and said to be extrapolated: nobody's figures judge them
    if why:
        return why.partition(":")[0] if why.startswith(OURS) else None
    found = prepared(row)
    if found == WAIT:  # of these a plan says what they see (Little's law), as long as one of them fits
        found = prepared(row | {"concurrency": "1"})
    if isinstance(found, str):
        return found
    return "" if found.peak.computes or number(row, "concurrency") <= 1 else "only the decoding of one user: the compute peak is not known"


def kind(row: dict[str, str]) -> str:
    """The class of a row: kind of GPU and engine; "other" where the catalogues do not describe them."""
    name = gpu_name(row["gpu"])
    return f"{gpu_kind(gpu_spec(name))} {ENGINES[row['engine']]}" if name and row["engine"] in ENGINES else "other"


def table() -> list[str]:
    """By class: rows, and how many of them have no speed here; then why."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for row in rows():
        if (why := reason(row)) is not None:
            by_kind[kind(row)].append(why)
    everything = [why for reasons in by_kind.values() for why in reasons]
    counts = Counter(why for why in everything if why)
    lines = ["| class | rows | of which no speed is said |", "|---|---|---|"]
    lines += [f"| {name} | {len(reasons)} | {share(reasons)} |" for name, reasons in sorted(by_kind.items()) if len(reasons) >= LEAST]
    return [
        f"Of {len(everything)} rows that state a server and what it reached, {share(everything)} have no speed here: "
        + "; ".join(f"{count} ({why})" for why, count in counts.most_common())
        + ".",
        "",
        *lines,
    ]


def share(reasons: list[str]) -> str:
    """How many, and which part of all."""
    refused = sum(bool(why) for why in reasons)
    return f"{refused} ({100 * refused / len(reasons):.1f} %)"


if __name__ == "__main__":
    print("\n".join(table()))
