"""What is installed answers: every file that it needs is packaged. It runs against the checkout here and, copied away from it, against a built wheel (noxfile.py)."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
QUESTION = ("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq")
LOG = "ValueError: Free memory on device cuda:0 (20.0/23.5 GiB) on startup is less than desired GPU memory utilization (0.9, 21.15 GiB)."


def plan(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command of this Python's environment."""
    return subprocess.run([sys.executable, "-m", "planner", *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.skipif(os.environ.get("PLAN_INSTALLED") != "required", reason="here the checkout's own files answer")
def test_the_wheel_answers_and_no_checkout():
    spec = importlib.util.find_spec("planner")
    assert spec is not None
    assert Path(spec.origin or "").is_relative_to(sys.prefix)


@pytest.mark.parametrize("program", [[sys.executable, "-m", "planner"], [str(Path(sys.executable).with_name("plan"))]])
def test_it_says_its_version(program, tmp_path):
    done = subprocess.run([*program, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, version("serve-plan") in done.stdout) == (0, True), done.stderr


def test_the_main_question_writes_its_files(tmp_path):
    done = plan(*QUESTION, "--output", "stack", "--html", "page.html", cwd=tmp_path)
    assert (done.returncode, "starts" in done.stdout) == (0, True), done.stderr
    scripts = sorted((tmp_path / "stack").glob("*.sh"))
    assert len(scripts) >= 4
    assert all(subprocess.run(["bash", "-n", script], check=False).returncode == 0 for script in scripts)
    assert "</html>" in (tmp_path / "page.html").read_text()
    made = plan("emit", "stack/plan.json", "--to", "k8s", cwd=tmp_path)
    assert made.returncode == 0, made.stderr


@pytest.mark.parametrize(
    ("question", "code"),
    [
        (QUESTION, 0),
        (("--gpu", "rtx4090", "--count", "2"), 0),
        (("--gpu", "m4-max-64gb", "--model", "qwen3-30b-a3b"), 0),
        (("--gpu", "rtx4090", "--engine", "ollama", "--model", "qwen3-8b"), 0),
        (("--model", "qwen3-32b", "--context", "32k", "--users", "10"), 0),
        (("check", "vllm serve Qwen/Qwen3-VL-32B-Instruct --max-model-len 131072", "--gpu", "a100-80"), 1),
    ],
)
def test_answers_as_json(question, code, tmp_path):
    done = plan(*question, "--format", "json", cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert isinstance(json.loads(done.stdout), dict)


def test_explain_knows_a_line_of_a_log(tmp_path):
    (tmp_path / "server.log").write_text(LOG)
    done = plan("explain", "server.log", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stdout + done.stderr


@pytest.mark.parametrize("what", ["gpus", "models", "architectures"])
def test_the_catalogues_are_there(what, tmp_path):
    done = plan("list", what, cwd=tmp_path)
    assert (done.returncode, len(done.stdout.splitlines()) > 20) == (0, True), done.stderr


def test_the_page_is_served(tmp_path):
    server = subprocess.Popen(
        [sys.executable, "-m", "planner", "web", "--port", "0", "--no-open"], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert server.stderr is not None
        (address,) = re.findall(r"http://\S+", server.stderr.readline())
        for name in ("", "static/style.css"):
            assert urllib.request.urlopen(address + name, timeout=60).status == 200
    finally:
        os.killpg(server.pid, signal.SIGINT)
        for _ in range(100):
            if server.poll() is not None:
                break
            time.sleep(0.1)
        else:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        server.stderr.close()
