"""`plan check --recipes`: vLLM's repository of recipes as a whole, over folders of the shape of a checkout with its commands rendered."""

import json
import subprocess
import time

import jsonschema
import pytest
from conftest import run_plan
from pull_request import git

from benchmarks.recipes import DATA, RECIPE, write_checkout
from planner.errors import PlannerError
from planner.facts.alternatives import Alternative
from planner.facts.verdict import Verdict
from planner.questions.recipes.judge import judge_recipes
from planner.questions.recipes.patch import Change, changes_of, patch
from planner.questions.recipes.read import RecipeCommand, read_recipes
from planner.reader import parse_yaml
from planner.report.schemas import json_schema

SOME = ("Qwen/Qwen3-32B", "ByteDance-Seed/Seed-OSS-36B-Instruct", "Qwen/Qwen3-8B")
LONGER = Change(strategy="single_node_tp", hardware="h100", words=("--max-model-len", "29696"))
WIDER = Change(strategy="single_node_tp", hardware="h100", words=("--tensor-parallel-size", "2"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    write_checkout(folder, SOME)
    return folder


def test_the_commands_are_those_of_the_files(checkout):
    commands = read_recipes(checkout)
    rows = [row for row in map(json.loads, DATA.read_text().splitlines()) if row["recipe"] in SOME]
    assert {(command.recipe, command.hardware, command.argv) for command in commands} == {(row["recipe"], row["hw"], tuple(row["argv"])) for row in rows}
    assert {(command.gpu, command.count) for command in commands if command.hardware == "gb200"} == {("gb200", 4)}


def test_a_folder_that_is_no_checkout_says_how_it_becomes_one(tmp_path):
    with pytest.raises(PlannerError) as told:
        judge_recipes(tmp_path)
    assert "node scripts/build-recipes-api.mjs" in told.value.hint


def test_what_is_refused_is_told_by_recipe_with_a_patch_that_git_applies(checkout):
    judged = judge_recipes(checkout, processes=1)
    assert judged.verdict is Verdict.DOES_NOT_START
    (recipe,) = [recipe for recipe in judged.recipes if recipe.name == "Qwen/Qwen3-32B"]
    assert [row.command.hardware for row in recipe.refused] == ["h100"]
    assert recipe.file == "models/Qwen/Qwen3-32B.yaml"
    git(checkout, "init", "-q")
    done = subprocess.run(["git", "-C", str(checkout), "apply", "--check", "-"], input=recipe.patch, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "text",
    [
        f"model: {{}}\n{RECIPE}",
        "model: {}\n\nguide: |\n  # strategy_overrides:\n",
        "model: {}",
        "strategy_overrides:\n  single_node_tp:\n    tp: {h200: 4}\n  multi_node_tp: {}\nguide: |\n  x\n",
        "strategy_overrides:\n  single_node_tp:\n    hardware_overrides:\n      b200:\n        extra_args: []\nguide: |\n  x\n",
        "strategy_overrides:\n  # why\n  multi_node_tp:\n    hardware_overrides: {}\n\nguide: |\n  x\n",
        "strategy_overrides: {single_node_tp: {tp: 1}}\n",
        "strategy_overrides:\n  single_node_tp:\n    hardware_overrides:\n      h100:\n        extra_args: []\n",
        "- a list\n",
        "{broken",
    ],
)
@pytest.mark.parametrize("change", [LONGER, WIDER], ids=["flag", "tp"])
def test_a_patch_changes_what_it_says_and_nothing_else(text, change, tmp_path):
    made = patch(text, "a.yaml", [change])
    if not made:
        assert any(part in text for part in ("{single", "- a list", "{broken", "h100:", "tp: {")) or not text.endswith("\n")
        return
    (tmp_path / "a.yaml").write_text(text)
    git(tmp_path, "init", "-q")
    subprocess.run(["git", "-C", str(tmp_path), "apply", "-"], input=made, text=True, check=True)
    (before,), (after,) = parse_yaml(text, ""), parse_yaml((tmp_path / "a.yaml").read_text(), "")
    overrides = after["strategy_overrides"]["single_node_tp"]
    if change is WIDER:
        assert overrides.pop("tp") == {"h100": 2}
    else:
        assert overrides["hardware_overrides"].pop("h100") == {"extra_args": ["--max-model-len", "29696"]}
    assert emptied(after) == emptied(before)


def emptied(part):
    """A mapping without what holds nothing."""
    if not isinstance(part, dict):
        return part
    kept = {key: emptied(value) for key, value in part.items()}
    return {key: value for key, value in kept.items() if value not in ({}, None)}


def test_only_what_was_planned_and_starts_is_proposed():
    command = RecipeCommand(recipe="a/b", hardware="h100", strategy="single_node_tp", variant="default", gpu="h100", count=8, argv=("vllm",))
    others = [Alternative(change="x", arguments=words, verdict=verdict) for words, verdict in (("--a 1", Verdict.UNLIKELY), ("--b 2", Verdict.TIGHT))]
    assert [change.words for change in changes_of(command, (), others)] == [("--b", "2")]
    assert list(changes_of(command, (), others[:1])) == []


def test_the_command_line_prints_each_format(checkout):
    done = run_plan("check", "--recipes", str(checkout), "--json", cwd=checkout)
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    jsonschema.Draft202012Validator(json_schema("check")).validate(answer)
    report = run_plan("check", "--recipes", str(checkout), "--fail-on", "never", cwd=checkout)
    assert report.returncode == 0
    assert "## Qwen/Qwen3-32B" in report.stdout
    assert "+          - " in report.stdout


@pytest.mark.slow
def test_the_whole_repository_is_judged_in_two_minutes(tmp_path):
    write_checkout(tmp_path)
    begun = time.monotonic()
    done = run_plan("check", "--recipes", str(tmp_path), "--json", cwd=tmp_path)
    assert time.monotonic() - begun < 120
    answer = json.loads(done.stdout)
    assert sum(answer["counts"].values()) > 1000
    assert 15 <= len(answer["recipes"]) <= 60
    patches = "".join(recipe["patch"] for recipe in answer["recipes"])
    git(tmp_path, "init", "-q")
    assert subprocess.run(["git", "-C", str(tmp_path), "apply", "--check", "-"], input=patches, text=True, check=False).returncode == 0
