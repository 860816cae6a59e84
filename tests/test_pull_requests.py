"""The GitHub action, the pre-commit hook and docs/pull-requests.md, each as its user would use it: on a repository made for the test, with a remote."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from conftest import DATA, ROOT, run_plan
from github_runner import Runner
from pull_request import checkout, commit, git

from tests.judges import missing

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
PAGE = (ROOT / "docs/pull-requests.md").read_text()
FITS, TOO_LONG = (f"#!/bin/bash\nexec vllm serve Qwen/Qwen3-32B \\\n  --max-model-len {length}\n" for length in (16384, 40960))


HERE = f"PYTHONPATH={ROOT} exec {sys.executable} -m planner"


@pytest.fixture
def pull_request(tmp_path):
    """A job for a pull request: a checkout of depth one of the merge, whose base only the remote has; and the base's name."""
    origin = checkout(tmp_path / "origin", {"deploy/serve.sh": FITS, "deploy/other.sh": TOO_LONG, "README.md": "x\n"})
    base = git(origin, "rev-parse", "HEAD").strip()
    git(origin, "switch", "-q", "-c", "longer")
    (origin / "deploy/serve.sh").write_text(TOO_LONG)
    commit(origin, "longer")
    git(tmp_path, "clone", "-q", "--depth=1", "--branch=longer", f"file://{origin}", "workspace")
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")  # as GitHub does
    runner = Runner(tmp_path, tmp_path / "workspace", ROOT)
    runner.use(HERE)
    return runner, base


def test_the_action_is_one_and_no_script_holds_an_expression():
    jsonschema.Draft7Validator(json.loads((DATA / "github-action.schema.json").read_text())).validate(ACTION)
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    used = set(re.findall(r"inputs\.([\w-]+)", (ROOT / "action.yml").read_text()))
    assert used == set(ACTION["inputs"])


@pytest.mark.parametrize("name", [name for name, step in STEPS.items() if "run" in step])
def test_shellcheck_has_nothing_to_say_of_the_steps(name):
    step = STEPS[name]
    assigned = "".join(f"export {key}=x\n" for key in (*step["env"], "RUNNER_TEMP", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "shellcheck"), "-s", "bash", "-"], input=assigned + step["run"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.judge
def test_actionlint_has_nothing_to_say(tmp_path):
    """Of the workflows, of the action's steps as those of a workflow that is called, and of the workflow that the documents show."""
    program = Path(sys.executable).with_name("actionlint")
    if not program.exists():
        missing("actionlint")
    inputs = {name: {"type": "string", "default": said["default"]} for name, said in ACTION["inputs"].items()}
    steps = [dict(step) for step in ACTION["runs"]["steps"]]
    called = {"name": "steps", "on": {"workflow_call": {"inputs": inputs}}, "jobs": {"plan": {"runs-on": "ubuntu-latest", "steps": steps}}}
    (shown,) = blocks("yaml", "# .github/workflows/servers.yml")
    (tmp_path / "called.yml").write_text(yaml.safe_dump(called, sort_keys=False))
    (tmp_path / "shown.yml").write_text(shown)
    files = [*sorted((ROOT / ".github/workflows").glob("*.yml")), tmp_path / "called.yml", tmp_path / "shown.yml"]
    done = subprocess.run([program, "-no-color", *files], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "called.yml").write_text(yaml.safe_dump(called, sort_keys=False).replace("inputs.gpu ", "inputs.gqu "))
    assert "gqu" in subprocess.run([program, "-no-color", tmp_path / "called.yml"], cwd=tmp_path, capture_output=True, text=True, check=False).stdout


def test_a_pull_request_that_asks_for_too_much_is_red(pull_request):
    runner, base = pull_request
    done = runner.run("Check", {"gpu": "h100"}, base)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("::error")]
    assert line.startswith("::error file=deploy/serve.sh,line=3,col=3,title=kv-cache-too-small::")  # other.sh, as bad, was not changed
    assert "| deploy/serve.sh:3 | Qwen/Qwen3-32B |" in runner.summary.read_text()
    log = json.loads((runner.temp / "plan.sarif").read_text())
    assert log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "deploy/serve.sh", "uriBaseId": "%SRCROOT%"}
    assert runner.run("Verdict", {}).returncode == 1


def test_a_pull_request_that_fits_is_green(pull_request):
    runner, base = pull_request
    assert runner.run("Check", {"gpu": "h200"}, base).returncode == 0
    assert runner.run("Verdict", {}).returncode == 0
    assert runner.run("Check", {"gpu": "h100", "changed-only": "false"}, base).stdout.count("::error") == 2
    assert runner.run("Check", {"gpu": "h100", "paths": "README.md\n\ndeploy/other.sh\n", "fail-on": "never"}).stdout.count("::error") == 1
    assert runner.run("Verdict", {}).returncode == 0


def test_a_question_that_is_wrong_is_red_too(pull_request):
    runner, base = pull_request
    done = runner.run("Check", {"gpu": "h10000"}, base)
    assert runner.run("Verdict", {}).returncode == 2, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["gpu", "count", "fail-on", "paths", "changed-only"])
def test_an_input_is_never_run(pull_request, name):
    runner, base = pull_request
    runner.run("Check", {"gpu": "h100"} | {name: "\"; touch pwned; $(touch pwned) `touch pwned` ' #"}, base)
    assert not list(runner.workspace.rglob("pwned"))


def test_a_files_name_is_never_run(pull_request):
    runner, base = pull_request
    (runner.workspace / "deploy/$(touch pwned); `touch pwned`.sh").write_text(TOO_LONG)
    (runner.workspace / "deploy/--help.sh").write_text(TOO_LONG)
    assert runner.run("Check", {"gpu": "h100"}, base).stdout.count("::error") == 3
    assert not list(runner.workspace.rglob("pwned"))


@pytest.mark.slow
def test_the_action_installs_what_it_runs(tmp_path):
    workspace = checkout(tmp_path / "workspace", {"serve.sh": TOO_LONG})
    runner = Runner(tmp_path, workspace, ROOT)
    done = runner.run("Install plan", {})
    assert done.returncode == 0, done.stderr
    assert "::error file=serve.sh" in runner.run("Check", {"gpu": "h100"}).stdout


@pytest.mark.slow
def test_the_hook_is_run_by_pre_commit(tmp_path):
    program = Path(sys.executable).with_name("pre-commit")
    if not os.access(program, os.X_OK):
        pytest.skip("pre-commit is not here: pip install pre-commit")
    hooks = tmp_path / "plan"
    hooks.mkdir()
    for name in ("planner", "hatch_build.py", "models.yaml", "gpus.yaml", "prices.yaml", "README.md", "LICENSE", "pyproject.toml", ".pre-commit-hooks.yaml"):
        source = ROOT / name
        shutil.copytree(source, hooks / name, ignore=shutil.ignore_patterns("__pycache__")) if source.is_dir() else shutil.copy(source, hooks / name)
    checkout(hooks, {})
    folder = checkout(tmp_path / "repository", {"good.sh": "# plan: gpu=h200\n" + FITS, "bad.sh": "# plan: gpu=h100\n" + TOO_LONG, "note.md": "vllm serve x\n"})
    environment = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "home"), "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        [str(program), "try-repo", str(hooks), "plan-check", "--all-files", "--verbose"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "bad.sh:4:3: error: Qwen/Qwen3-32B on 1x H100 SXM5 80GB" in done.stdout
    assert "2 servers in 3 files" in done.stdout  # a Markdown file too, of which no block names a machine


def blocks(kind, begin=""):
    return re.findall(rf"(?ms)^```{kind}\n({re.escape(begin)}.+?)^```$", PAGE)


def test_the_page_leads_to_a_red_check(tmp_path):
    """Its words in its order, by somebody who has nothing but an empty repository; `plan` is the installed one, GitHub is `Runner`."""
    (workflow,) = blocks("yaml", "# .github/workflows/servers.yml")
    remote = tmp_path / "remote"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(remote))
    folder = tmp_path / "workspace"
    git(tmp_path, "clone", "-q", str(remote), str(folder))
    (folder / ".github/workflows").mkdir(parents=True)
    (folder / ".github/workflows/servers.yml").write_text(workflow)
    (job,) = yaml.safe_load(workflow)["jobs"].values()
    ours = job["steps"][-1]
    assert set(ours["with"]) <= set(ACTION["inputs"])
    (tmp_path / "bin").mkdir()
    plan = tmp_path / "bin/plan"
    plan.write_text(f'#!/bin/sh\n{HERE} "$@"\n')
    plan.chmod(0o755)
    names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull, "PATH": f"{plan.parent}:{os.environ['PATH']}"}
    git(folder, "switch", "-q", "-C", "main")
    start, change, ask = blocks("bash")
    for words, code in ((start, 0), (change, 0), (ask, 1)):
        done = subprocess.run(["bash", "-e", "-c", words], cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
    assert "deploy/serve.sh:3:3: error: Qwen/Qwen3-32B on 1x H100" in done.stdout
    runner = Runner(tmp_path, folder, ROOT)
    runner.use(HERE)
    assert "file=deploy/serve.sh,line=3" in runner.run("Check", ours["with"], git(folder, "rev-parse", "main").strip()).stdout
    assert runner.run("Verdict", {}).returncode == 1


def test_the_pages_files_are_what_is_read(tmp_path):
    (settings,) = blocks("yaml", "# .plan.yaml")
    (hook,) = blocks("yaml", "# .pre-commit-config.yaml")
    (tmp_path / ".plan.yaml").write_text(settings)
    for name in ("deploy/h100/a/b.sh", "dev/c.sh", "compose.prod.yaml.sh", "examples/d.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("vllm serve Qwen/Qwen3-8B --max-model-len 8192\n")
    answer = json.loads(run_plan("check", ".", "--json", cwd=tmp_path).stdout)
    machines = {server["file"]: server["machine"] for server in answer["servers"]}
    assert machines == {"deploy/h100/a/b.sh": "8x H100 SXM5 80GB", "dev/c.sh": "1x GeForce RTX 4090", "compose.prod.yaml.sh": ""}
    ids = {entry["id"] for entry in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    assert {entry["id"] for repo in yaml.safe_load(hook)["repos"] for entry in repo["hooks"]} <= ids
    table = dict(re.findall(r"(?m)^\| `(\w+)`.* \| (.+) \|$", PAGE))
    assert list(table) == ["refused", "unlikely", "unknown", "tight", "never"]
