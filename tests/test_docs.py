"""The documents are tested by running them; the code stays clean."""

import json
import re
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT, json_lines, run_plan

from planner import catalog
from planner.catalog import catalogue_path, digest
from planner.schema import json_schema
from tests.judges import library

README = (ROOT / "README.md").read_text()
EXAMPLES = sorted(set(re.findall(r"(?m)^(?:\$ )?(plan .*)$", README)))


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_readme_runs(example, tmp_path):
    (tmp_path / "server.log").write_text(next((ROOT / "tests" / "data" / "logs").glob("qwen*8b*")).read_text())
    if example.startswith("plan emit"):  # of what the line above it wrote
        (before,) = (each for each in EXAMPLES if each.endswith("--output my-stack"))
        run_plan(*shlex.split(before)[1:], cwd=tmp_path)
    done = run_plan(*shlex.split(example.split("#")[0])[1:], cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr


def test_the_stack_file_of_the_readme_is_planned(tmp_path):
    (text,) = re.findall(r"```yaml\n(# stack.yaml.+?)```", README, re.DOTALL)
    (tmp_path / "stack.yaml").write_text(text)
    done = run_plan("-f", "stack.yaml", "--dry-run", "--format", "json", cwd=tmp_path)
    assert [service["name"] for service in json.loads(done.stdout)["services"]] == ["texts", "chat"]


def test_the_picture_in_the_readme_is_real(tmp_path):
    picture = re.search(r"```text\n\$ plan (.+?)\n(.+?)```", README, re.DOTALL)
    assert picture
    done = run_plan(*shlex.split(picture[1]), "--dry-run", cwd=tmp_path)
    assert [line.rstrip() for line in done.stdout.splitlines()] == [line.rstrip() for line in picture[2].splitlines()]


def test_the_pictures_of_the_readme_are_there():
    pictures = re.findall(r"!\[[^]]{20,}\]\((docs/pictures/\w+\.png)\)", README)
    assert len(pictures) == 2
    for picture in pictures:
        assert (ROOT / picture).read_bytes().startswith(b"\x89PNG"), "run `python -m benchmarks.screenshots`"


def test_ci_runs_the_two_commands_of_the_readme():
    found = [
        subprocess.run([sys.executable, ROOT / ".ci" / "readme_blocks.py", which], capture_output=True, text=True, check=True).stdout
        for which in ("main", "tests")
    ]
    assert found[0].startswith("python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/plan ")
    assert found[1] == "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest -n 2\n"
    script = (ROOT / ".ci" / "run").read_text()
    assert all(f"readme_blocks.py {which})" in script for which in ("main", "tests"))


def test_the_catalogues_were_validated_as_they_are():
    known = json.loads((ROOT / "planner" / "validated.json").read_text())
    for name in ("gpus.yaml", "models.yaml"):
        assert known[name] == digest(catalogue_path(name)), "run `python -m planner.schema`"


@pytest.mark.parametrize("what", [path.name.removesuffix(".schema.json") for path in sorted((ROOT / "schemas").glob("*.json"))])
def test_the_schemas_are_current(what):
    assert json.loads((ROOT / "schemas" / f"{what}.schema.json").read_text()) == json_schema(what), "run `python -m planner.schema`"


def test_every_key_of_the_json_is_documented():
    page = (ROOT / "docs" / "json.md").read_text()
    for schema in (json_schema("plan"), json_schema("local")):
        for section in (schema, *schema["$defs"].values()):
            for key in section["properties"]:
                assert f"`{key}`" in page, key


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], pytest.param(["mypy"], marks=pytest.mark.slow)])
def test_the_code_is_clean(command):
    library(command[0])
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_counts_in_the_texts_are_true():
    gpus, models = len(list(catalog.gpu_rows())), len(list(catalog.model_rows()))
    assert f"`plan list gpus`: {gpus} of them" in README
    assert f"`plan list models`: {models} of them" in README
    answers = json_lines("vllm_0.33_oracle.jsonl")
    counted = f"{len(answers):,} plans: {len({row['model'] for row in answers})} configurations"
    assert counted in (ROOT / "tests" / "oracle" / "README.md").read_text()
