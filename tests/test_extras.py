"""What only some questions need is an extra: the main job runs without any, and who asks for more is told in one line what to install."""

import os
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
MAIN = ("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq")
SWEEP = ("sweep", "--gpus", "rtx4090", "--models", "qwen3-8b", "--output")
WANTS = {  # extra: a question that wants it, with how the message calls it
    "web": ("plan web", ("web", "--no-open", "--port", "0")),
    "bench": ("plan bench", ("bench", "--gpu", "rtx4090", "--model", "qwen3-8b")),
    "parquet": ("a .parquet file", (*SWEEP, "plans.parquet")),
    "mcp": ("plan mcp", ("mcp",)),
    "prices": ("--api", ("cost", "--gpu", "rtx4090", "--model", "qwen3-8b", "--api", "openrouter:qwen/qwen3-8b")),
    "ray": ("--ray", (*SWEEP, "plans.csv", "--ray", "local")),
}
WITHOUT = """
import sys
blocked, sys.argv = sys.argv[1].split(","), ["plan", *sys.argv[2:]]
sys.modules.update(dict.fromkeys(blocked))
from planner.__main__ import start
start()
"""


def packages(extra):
    return [re.match(r"[\w-]+", each)[0].replace("-", "_") for each in EXTRAS[extra]]


def without(blocked, *arguments, cwd):
    """The command line in a Python that cannot import these."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, ",".join(blocked), *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=120, env=os.environ
    )


@pytest.mark.parametrize("extra", WANTS)
def test_a_missing_library_is_named_with_the_command_that_installs_it(extra, tmp_path):
    what, question = WANTS[extra]
    done = without(packages(extra), *question, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert done.stderr.startswith(f"plan: {what} needs {', '.join(sorted(packages(extra), key=done.stderr.index))}; ")
    command = shlex.split(re.split(", or |\n", done.stderr.partition("; ")[2])[0])
    assert (" ".join(command[:4]), set(command[4:])) == (f"{sys.executable} -m pip install", set(packages(extra)))


def test_only_what_is_missing_is_to_be_installed(tmp_path):
    done = without(["uvicorn"], "web", "--no-open", "--port", "0", cwd=tmp_path)
    assert (done.returncode, "plan web needs uvicorn; " in done.stderr, "starlette" in done.stderr) == (2, True, False), done.stderr


def test_the_report_as_a_page_wants_jinja(tmp_path):
    done = without(["jinja2"], *MAIN, "--dry-run", "--html", "page.html", cwd=tmp_path)
    assert (done.returncode, "--html needs jinja2; " in done.stderr, (tmp_path / "page.html").exists()) == (2, True, False), done.stderr
    assert "tokens of context" in done.stdout


def test_the_main_job_needs_no_extra(tmp_path):
    blocked = [name for extra in WANTS for name in packages(extra)]
    for question in (MAIN, (*MAIN, "--format", "json"), ("check", "vllm serve Qwen/Qwen3-8B --max-model-len 8192", "--gpu", "rtx4090"), ("list", "gpus")):
        done = without(blocked, *question, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_every_extra_of_users_is_tried():
    assert set(EXTRAS) - set(WANTS) == {"vllm", "mlx", "test", "judges", "lint", "docs", "dev", "mutation"}  # engines, and what developers need
