"""What is said of vLLM's recipes as a whole: a report for their maintainers, by recipe, with patches that git applies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from typing_extensions import TypedDict

from planner.facts.finding import SEVERITIES, Finding, JudgedFiles, JudgedServer, Place
from planner.facts.verdict import Verdict
from planner.questions.recipes.judge import JudgedCommand, JudgedRecipe, JudgedRecipes
from planner.report.contract_parts import AnswerJson
from planner.report.files import cell
from planner.report.head import HEAD


class RecipeCommandJson(TypedDict):
    """One command that is not expected to start: the machine, whether its makers say that it runs there, why not and what would do."""

    hardware: str
    strategy: str
    verdict: Verdict
    verified: bool
    argv: list[str]
    rule: str
    message: str
    fix: str


class RecipeJson(TypedDict):
    """One recipe with such commands; `patch` is empty where none is known."""

    name: str
    file: str
    line: int
    commands: list[RecipeCommandJson]
    patch: str


class RecipesJson(AnswerJson):
    """The answer about the repository of recipes; `counts` by verdict, `unsaid` by the reason."""

    verdict: Verdict
    headline: str
    counts: dict[str, int]
    unsaid: dict[str, int]
    recipes: list[RecipeJson]


def recipes_json(judged: JudgedRecipes) -> RecipesJson:
    """The JSON object of a repository."""
    return {
        **HEAD,
        "verdict": judged.verdict,
        "headline": headline(judged),
        "counts": {str(verdict): count for verdict, count in Counter(row.verdict for row in judged.commands if not row.unsaid).items()},
        "unsaid": dict(Counter(_reason(row) for row in judged.commands if row.unsaid)),
        "recipes": [
            {
                "name": recipe.name,
                "file": recipe.file,
                "line": recipe.place.line,
                "commands": [_command(recipe, row) for row in recipe.refused],
                "patch": recipe.patch,
            }
            for recipe in judged.recipes
        ],
    }


def _reason(row: JudgedCommand) -> str:
    return "model not known here" if row.unsaid.startswith("model-access") else row.unsaid.partition(";")[0]


def _command(recipe: JudgedRecipe, row: JudgedCommand) -> RecipeCommandJson:
    return {
        "hardware": row.command.hardware,
        "strategy": row.command.strategy,
        "verdict": row.verdict,
        "verified": row.command.hardware in recipe.verified,
        "argv": list(row.command.argv),
        "rule": _rule(row),
        "message": "; ".join(problem.message for problem in row.problems),
        "fix": _fix(row),
    }


def _rule(row: JudgedCommand) -> str:
    return row.problems[0].code if row.problems else str(row.verdict)


def _fix(row: JudgedCommand) -> str:
    """The nearest change that was planned, else what the first problem calls for."""
    starts = next((other.arguments for other in row.alternatives if not other.verdict.falls_short), "")
    return starts or (row.problems[0].fix if row.problems else "")


def headline(judged: JudgedRecipes) -> str:
    """One line: of how many commands something is said, how many cannot start."""
    said = [row for row in judged.commands if not row.unsaid]
    refused = sum(row.verdict is Verdict.DOES_NOT_START for row in said)
    unlikely = sum(row.verdict is Verdict.UNLIKELY for row in said)
    recipes = len(judged.recipes)
    return f"of {len(said):,} commands judged {refused:,} cannot start and {unlikely:,} are unlikely to, in {recipes:,} recipe{'' if recipes == 1 else 's'}"


def recipes_markdown(judged: JudgedRecipes) -> str:
    """The report: a table by recipe, then one patch of all."""
    unsaid = Counter(_reason(row) for row in judged.commands if row.unsaid)
    lines = ["# Recipes that cannot start as they are written", "", f"{headline(judged).capitalize()}.", ""]
    lines += (
        [f"Nothing is said of {sum(unsaid.values()):,}: {', '.join(f'{count:,} {cell(why)}' for why, count in unsaid.most_common(8))}.", ""] if unsaid else []
    )
    for recipe in judged.recipes:
        lines += [f"## {recipe.name}", "", f"`{recipe.file}`" + (f", line {recipe.place.line}" if recipe.place.line > 1 else ""), ""]
        lines += ["| machine | | why | what would do |", "|---|---|---|---|", *(_row(recipe, row) for row in recipe.refused), ""]
        lines += ["```diff", recipe.patch.rstrip("\n"), "```", ""] if recipe.patch else []
    return "\n".join(lines).rstrip("\n")


def _row(recipe: JudgedRecipe, row: JudgedCommand) -> str:
    verified = ", though marked verified" if row.command.hardware in recipe.verified else ""
    machine = f"{row.command.count}x {row.command.hardware}"
    why = "; ".join(problem.message for problem in row.problems)
    return f"| {cell(machine)} | {row.verdict.words}{verified} | {cell(why)} | {cell(_fix(row))} |"


def recipes_patch(judged: JudgedRecipes) -> str:
    """All patches, as git applies them."""
    return "".join(recipe.patch for recipe in judged.recipes).rstrip("\n")


def as_files(judged: JudgedRecipes) -> JudgedFiles:
    """The refused commands as findings in the recipes' files: for SARIF and the lines of a pull request."""
    servers = tuple(server for recipe in judged.recipes for server in _servers(recipe))
    return JudgedFiles(files=len({row.command.recipe for row in judged.commands}), servers=servers)


def _servers(recipe: JudgedRecipe) -> Iterator[JudgedServer]:
    for row in recipe.refused:
        place: Place = recipe.place
        machine = f"{row.command.count}x {row.command.hardware}"
        message = f"{recipe.name} on {machine} {row.verdict.words}: {'; '.join(problem.message for problem in row.problems)}"
        finding = Finding(file=recipe.file, place=place, rule=_rule(row), severity=SEVERITIES[row.verdict], message=message, fix=_fix(row))
        yield JudgedServer(
            file=recipe.file,
            place=place,
            engine="",
            model=recipe.name,
            machine=machine,
            verdict=row.verdict,
            headline=row.verdict.words,
            findings=(finding,),
        )
