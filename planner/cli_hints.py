"""What to type instead: of a word that is no command."""

from __future__ import annotations

import difflib

from planner.cli_command import words
from planner.errors import PlannerError


def no_command(given: list[str], known: list[str]) -> PlannerError:
    """The error for a word that is no command: the nearest command, or the option that a GPU's or a model's name needs."""
    word = given[0]
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    if near:
        return PlannerError(f"no command {word[:60]!r}", f"did you mean plan {near[0]}?")
    found: dict[str, str] = {}
    for one in given:
        if (kind := _kind(one)) and kind not in found:
            found[kind] = one
    if found:
        what = "a GPU" if "gpu" in found else "a model"
        return PlannerError(f"{word[:60]!r} is no command", f"{what} is named by {' and '.join(f'--{kind}' for kind in found)}: {words(found)}")
    return PlannerError(f"no command {word[:60]!r}", f"the commands are {', '.join(known)}; plan --help says more")


def _kind(word: str) -> str | None:
    """Which option a word is the value of, where it is one."""
    from planner.catalog import find_gpu, find_model

    if word.startswith("-"):
        return None
    try:
        find_gpu(word)
    except PlannerError:
        return "model" if find_model(word) or word.count("/") == 1 else None
    return "gpu"
