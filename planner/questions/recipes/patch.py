"""What would make a recipe's commands start, as a patch of its YAML that git applies: for one GPU, so that the others stay as they are.

src/lib/command-synthesis.js @8959cf6: strategy_overrides.STRATEGY.hardware_overrides.GPU.extra_args is added for an exact GPU, its last flag wins;
strategy_overrides.STRATEGY.tp may be a mapping by GPU. A patch is read again before it is told: what is not as meant is not told.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Sequence

from planner.errors import PlannerError
from planner.facts.alternatives import Alternative
from planner.facts.finding import Place
from planner.facts.plan import Problem
from planner.facts.record import dataclass
from planner.questions.recipes.read import RecipeCommand
from planner.reader import parse_yaml

_TENSOR_PARALLEL = "--tensor-parallel-size"
_FLAG = re.compile(r"--[A-Za-z][\w-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Words that a strategy's command has for one GPU from then on."""

    strategy: str
    hardware: str
    words: tuple[str, ...]


def changes_of(command: RecipeCommand, problems: Sequence[Problem], alternatives: Sequence[Alternative]) -> Iterator[Change]:
    """The nearest change that was planned and starts, where flags alone say it; none for a flag that is to be taken away, nor of a variant's."""
    if command.variant != "default" or any(problem.code in ("unknown-flag", "bad-value") for problem in problems):
        return
    for alternative in alternatives:
        words = tuple(shlex.split(alternative.arguments))
        if words and words[0].startswith("--") and not alternative.verdict.falls_short:
            yield Change(strategy=command.strategy, hardware=command.hardware, words=words)
            return


def line_of(text: str, problems: Sequence[Problem]) -> Place:
    """Where a recipe says what is wrong: the flag that a problem names."""
    lines = text.splitlines()
    for flag in (flag for problem in problems for flag in _FLAG.findall(f"{problem.message} {problem.fix}")):
        for number, line in enumerate(lines, 1):
            if match := re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", line):
                return Place(line=number, column=match.start() + 1)
    return Place()


def patch(text: str, file: str, changes: Sequence[Change]) -> str:
    """A unified diff of a recipe with the changes; empty where there are none, or its file cannot be changed so."""
    changed, wanted = text, _mapping(text)
    for change in dict.fromkeys(changes):
        keys, value = _said(change)
        if wanted is None or not text.endswith("\n") or not _put(wanted, ("strategy_overrides", change.strategy, *keys), value):
            return ""
        changed = _changed(changed, change)
        if _mapping(changed) != wanted:
            return ""
    before, after = text.splitlines(keepends=True), changed.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, fromfile=f"a/{file}", tofile=f"b/{file}"))


def _mapping(text: str) -> dict[str, object] | None:
    try:
        read = parse_yaml(text, "the recipe")
    except PlannerError:
        return None
    return read[0] if len(read) == 1 and isinstance(read[0], dict) else None


def _put(part: dict[str, object], keys: Sequence[str], value: object) -> bool:
    """Put a value below keys, none of which may hold anything but a mapping; False where one does, or the GPU has something of its own."""
    for key in keys[:-1]:
        inner = part.get(key)
        if inner is None:
            inner = part[key] = {}
        if not isinstance(inner, dict):
            return False
        part = inner
    if keys[-1] in part:
        return False
    part[keys[-1]] = value
    return True


def _said(change: Change) -> tuple[tuple[str, ...], object]:
    """The keys below a strategy, and the value."""
    if change.words[0] == _TENSOR_PARALLEL and len(change.words) == 2:
        return ("tp", change.hardware), int(change.words[1])
    return ("hardware_overrides", change.hardware, "extra_args"), list(change.words)


def _changed(text: str, change: Change) -> str:
    """The text with what is missing of the keys, and the value below them: blocks of two spaces, as all recipes are written."""
    keys, value = _said(change)
    lines = text.splitlines(keepends=True)
    path = ("strategy_overrides", change.strategy, *keys)
    begin, end, depth = 0, len(lines), 0
    for depth, key in enumerate(path[:-1]):
        header = next((number for number in range(begin, end) if re.match(rf"{'  ' * depth}{re.escape(key)}:\s*(?:\{{\s*\}}|#.*)?\s*$", lines[number])), None)
        if header is None:
            break
        lines[header] = re.sub(r":\s*\{\s*\}", ":", lines[header], count=1)
        begin = header + 1
        end = next((number for number in range(begin, end) if lines[number].strip() and len(lines[number]) - len(lines[number].lstrip()) <= 2 * depth), end)
    else:
        depth = len(path) - 1
    at = begin if depth else next((number for number, line in enumerate(lines) if line.startswith("guide:")), len(lines))
    added = [f"{'  ' * (depth + step)}{key}:\n" for step, key in enumerate(path[depth:-1])]
    indent = "  " * (len(path) - 1)
    if isinstance(value, list):
        added += [f"{indent}{path[-1]}:\n", *(f'{indent}  - "{word}"\n' for word in value)]
    else:
        added += [f"{indent}{path[-1]}: {value}\n"]
    return "".join([*lines[:at], *added, *lines[at:]])
