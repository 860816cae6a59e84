"""The recipes' commands -> which cannot start, by recipe, with what would do: each is judged on the machine it is for, on all cores that there are."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

from planner.errors import PlannerError
from planner.facts.alternatives import Alternative
from planner.facts.finding import Place
from planner.facts.plan import Problem
from planner.facts.record import dataclass
from planner.facts.verdict import Verdict
from planner.questions.check import check, find_server, group_for
from planner.questions.recipes.patch import Change, changes_of, line_of, patch
from planner.questions.recipes.read import RecipeCommand, read_recipes
from planner.reader import read_text

MAX_RECIPE_BYTES = 1024 * 1024
MANY = 200  # commands; below that a process starts no other
SEVERAL_MACHINES = "several machines"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCommand:
    """One command and what is said of it; `unsaid` why nothing is."""

    command: RecipeCommand
    verdict: Verdict
    problems: tuple[Problem, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    unsaid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRecipe:
    """The commands of a recipe that are not expected to start, its file, where that says the first of what is wrong, and a patch of it (empty: none is known)."""

    name: str
    file: str
    place: Place
    refused: tuple[JudgedCommand, ...]
    verified: frozenset[str]
    """Machines on which its makers say that it runs."""
    patch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRecipes:
    """A whole repository."""

    commands: tuple[JudgedCommand, ...]
    recipes: tuple[JudgedRecipe, ...]
    """Those with a command that is not expected to start."""

    @property
    def verdict(self) -> Verdict:
        """The worst of all commands of which something can be said."""
        return min((judged.verdict for judged in self.commands if not judged.unsaid), default=Verdict.STARTS)


def judge_recipes(folder: Path, processes: int | None = None) -> JudgedRecipes:
    """Judge a checkout. Raises PlannerError for a folder that is none."""
    commands = read_recipes(folder)
    batches = [list(batch) for _, batch in groupby(commands, key=lambda command: command.recipe)]
    number = min(processes or os.cpu_count() or 1, 16) if len(commands) >= MANY else 1
    if number > 1:
        with ProcessPoolExecutor(number, mp_context=get_context("spawn")) as pool:
            judged = [row for batch in pool.map(_judge_recipe, batches, chunksize=4) for row in batch]
    else:
        judged = [row for batch in batches for row in _judge_recipe(batch)]
    refused = [row for row in judged if not row.unsaid and row.verdict.falls_short]
    recipes = [_recipe(folder, name, list(rows)) for name, rows in groupby(refused, key=lambda row: row.command.recipe)]
    return JudgedRecipes(commands=tuple(judged), recipes=tuple(recipes))


def _judge_recipe(commands: Sequence[RecipeCommand]) -> list[JudgedCommand]:
    """The commands of one recipe; what is asked twice is judged once, and a model that nobody knows is looked for once."""
    known: dict[tuple[str, str, int], JudgedCommand] = {}
    unknown_models: dict[str, str] = {}
    judged = []
    for command in commands:
        key = (command.text, command.gpu, command.count)
        model = next((word for word in command.argv[2:] if not word.startswith("-")), "")
        if key not in known:
            reason = "" if command.argv else SEVERAL_MACHINES
            known[key] = _judge(command, reason or unknown_models.get(model, ""))
            if not reason and "model-" in known[key].unsaid:
                unknown_models[model] = known[key].unsaid
        row = known[key]
        judged.append(JudgedCommand(command=command, verdict=row.verdict, problems=row.problems, alternatives=row.alternatives, unsaid=row.unsaid))
    return judged


def _judge(command: RecipeCommand, unsaid: str) -> JudgedCommand:
    if unsaid:
        return JudgedCommand(command=command, verdict=Verdict.UNKNOWN, unsaid=unsaid)
    try:
        group = group_for(server := find_server(command.text), command.gpu, command.count, "server")
    except PlannerError as error:
        return JudgedCommand(command=command, verdict=Verdict.UNKNOWN, unsaid=error.message)
    try:
        plan = check(server, group)
    except PlannerError as error:
        return JudgedCommand(command=command, verdict=Verdict.UNKNOWN, unsaid=f"model-access: {error.message}")
    return JudgedCommand(command=command, verdict=plan.verdict, problems=plan.problems, alternatives=plan.alternatives)


def _recipe(folder: Path, name: str, refused: Sequence[JudgedCommand]) -> JudgedRecipe:
    """A recipe with its patch, where its file is here and can be changed."""
    file = f"models/{name}.yaml"
    is_own = (folder / file).is_file()
    try:
        file = file if is_own else _of_variant(folder, name)
        text = read_text(folder / file, MAX_RECIPE_BYTES)
    except PlannerError:
        text = ""
    changes: list[Change] = [change for row in refused for change in changes_of(row.command, row.problems, row.alternatives)]
    return JudgedRecipe(
        name=name,
        file=file,
        place=line_of(text, refused[0].problems),
        refused=tuple(refused),
        verified=frozenset(_verified(text, [row.command.hardware for row in refused])),
        patch=patch(text, file, changes) if text and is_own else "",
    )


def _of_variant(folder: Path, name: str) -> str:
    """The recipe that serves a checkpoint of another name as one of its variants."""
    for path in sorted((folder / "models").glob("*/*.yaml")):
        if re.search(rf"model_id: *[\"']?{re.escape(name)}[\"']?\s", read_text(path, MAX_RECIPE_BYTES)):
            return path.relative_to(folder).as_posix()
    return f"models/{name}.yaml"


def _verified(text: str, hardware: Sequence[str]) -> list[str]:
    return [name for name in hardware if re.search(rf"(?m)^ +{re.escape(name)}: *[\"']?verified\b", text)]
