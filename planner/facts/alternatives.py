"""Another question that would do."""

from __future__ import annotations

from planner.facts.record import dataclass
from planner.facts.verdict import Verdict

WITHOUT = "without"  # in `changed`: the number of a server beside the main one that is left out


Changed = tuple[tuple[str, object], ...]  # options of the question by their names, with new values; None leaves one out


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """A change that meets the wish, checked by planning it; `command` is the whole question to type, where one line asks it.

    `changed` are options of the question's server number `server` (0: the main one) or of its machine.
    """

    change: str
    arguments: str
    verdict: Verdict
    changed: Changed = ()
    server: int = 0
    command: str = ""
