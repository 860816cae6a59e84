"""Types tell the truth: how often they say `Any`, or that mypy be quiet. Both only go down."""

import re
from collections.abc import Iterator
from pathlib import Path

import planner

ROOT = Path(planner.__file__).parent
MOST_ANY = 40
MOST_IGNORED = 5  # each with its reason


def lines(pattern: str) -> Iterator[str]:
    for path in sorted(ROOT.rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            yield from (f"{path.relative_to(ROOT)}:{number}: {line.strip()}" for _ in re.findall(pattern, line))


def test_any_is_said_no_more_often_than_before():
    said = list(lines(r"\bAny\b"))
    assert len(said) <= MOST_ANY, "\n".join(said)


def test_mypy_is_told_to_be_quiet_no_more_often_than_before():
    told = list(lines(r"type: ignore"))
    assert len(told) <= MOST_IGNORED, "\n".join(told)
