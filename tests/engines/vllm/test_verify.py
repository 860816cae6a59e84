"""`plan verify`: vLLM itself asked about emitted commands, as a user with an installation would."""

import sys

import pytest
from conftest import run_plan

from tests.judges import judge_venv


@pytest.mark.judge
@pytest.mark.parametrize(
    "question",
    [
        ("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq", "--context", "128k"),
        ("--gpu", "h100", "--model", "gpt-oss-20b"),
        ("--gpu", "a100-40", "--count", "2", "--model", "qwen3-8b", "--quantization", "fp8", "-pp", "2"),
        ("--gpu", "rtx5090", "--model", "gemma-3-12b", "--max-model-len", "131072", "--kv-cache-memory-bytes", "1G"),
    ],
)
def test_vllm_agrees_line_by_line(question, tmp_path):
    python = judge_venv("vllm") / "bin" / "python"
    done = run_plan("verify", *question, "--python", str(python), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("agrees") for line in lines)


@pytest.mark.parametrize(("python", "says"), [(sys.executable, "no vLLM in"), ("/nowhere/python", "cannot be run")])
def test_without_an_installation_it_says_so(python, says, tmp_path):
    done = run_plan("verify", "--gpu", "rtx4090", "--model", "qwen3-8b", "--python", python, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
