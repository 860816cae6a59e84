"""Regular expressions of strangers: only those that no name makes slow, as Python's matcher goes back and tries again."""

from __future__ import annotations

import re
from functools import lru_cache

from planner.errors import PlannerError

MOST_LETTERS, MOST_REPEATS = 2_000, 5
_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*+\]|\((?:\?(?:P?<[^>]*+>|[:=!>]|<[=!]))?|\)|([*+][?+]?|\{\d*,\d*\}[?+]?)|.", re.DOTALL)


@lru_cache(maxsize=4096)
def foreign_pattern(text: str) -> re.Pattern[str]:
    """A stranger's regular expression. Raises PlannerError for one that may take for ever, and for what is none."""
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise PlannerError(f"{text[:60]!r} is no pattern ({error})") from None
    if len(text) > MOST_LETTERS or _repeats(text) > MOST_REPEATS:
        raise PlannerError(f"the pattern {text[:60]!r} may take for ever", f"at most {MOST_REPEATS} repetitions, none inside another")
    return pattern


def _repeats(pattern: str) -> int:
    """How many open repetitions stand behind each other, those that touch counted thrice; more than any may have where one stands inside another."""
    count, is_inner, touches = 0, False, 0
    groups = [False]  # whether each group around holds a repetition
    for match in _PARTS.finditer(pattern):
        part = match[0]
        if match[1]:
            if is_inner:
                return MOST_REPEATS + 1
            count, touches = count + (3 if touches == 1 else 1), 2
            groups[-1] = True
        elif part.startswith("("):
            groups.append(False)
        elif part == ")" and len(groups) > 1:
            is_inner = groups.pop()
            groups[-1] = groups[-1] or is_inner
            continue
        else:
            touches = max(0, touches - 1)
        is_inner = False
    return count
