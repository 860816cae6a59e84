"""A command in a fork is what a new process of it is, and leaves nothing to the next."""

import os
import subprocess
import sys

import pytest
from conftest import run_plan
from forked import forks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


@pytest.mark.parametrize(
    "words",
    [
        ("--gpu", "rtx4090", "--model", "llama-3.3-70b", "--json"),  # code 1
        ("--gpu", "rtx4900", "--model", "qwen3-8b"),  # code 2
        ("sweep", "--models", "qwen3-8b", "--gpus", "rtx4090", "--output", "-", "--jobs", "2"),
    ],
)
def test_it_says_what_a_new_process_says(words, tmp_path):
    new = subprocess.run([sys.executable, "-m", "planner", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    fork = forks().completed(*words, cwd=tmp_path, environment=dict(os.environ))
    assert (fork.returncode, fork.stdout, fork.stderr) == (new.returncode, new.stdout, new.stderr)


def test_folder_and_variables_are_those_of_one_command(tmp_path):
    assert run_plan("config", "set", "gpu", "h100", cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path)).returncode == 0
    assert run_plan("--model", "qwen3-8b", "--output", "here", cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path)).returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"here", "plan"}
    assert "h100" not in run_plan("config", cwd=tmp_path).stdout


def test_what_python_reads_when_it_starts_needs_a_new_process(tmp_path):
    assert forks().completed("list", "gpus", cwd=tmp_path, environment={**os.environ, "PYTHONPATH": str(tmp_path)}) is None
    (tmp_path / "planner").mkdir()
    (tmp_path / "planner" / "__init__.py").write_text("raise SystemExit('another planner')")
    done = run_plan("list", "gpus", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (1, "another planner\n")
