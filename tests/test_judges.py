"""What needs a judge is skipped without it, with the words that set it up; where judges are required it fails; no test installs."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT

from tests import judges

ONE = """
from tests.judges import {imported}

def test_it():
    {asks}
"""


@pytest.mark.parametrize(
    ("imported", "asks"),
    [("judge_venv", 'judge_venv("vllm")'), ("judge_venv", 'judge_venv("litellm")'), ("chromium", "chromium()"), ("library", 'library("no_such_library")')],
)
@pytest.mark.parametrize(("required", "code", "word"), [("", 0, "SKIPPED"), ("required", 1, "FAILED")])
@pytest.mark.slow
def test_a_missing_judge(imported, asks, required, code, word, tmp_path):
    (tmp_path / "test_one.py").write_text(ONE.format(imported=imported, asks=asks))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "-v", "--rootdir", tmp_path, "-c", "/dev/null", "test_one.py"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PLAN_JUDGES": required},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, word in done.stdout) == (code, True), done.stdout + done.stderr
    assert "python -m tests.judges" in done.stdout + done.stderr
    assert not (tmp_path / ".cache").exists()


def test_an_unknown_judge_is_refused(capsys):
    assert judges.main(["vlm"]) == 2
    assert "vllm, litellm, mlx, llamacpp, static-page, deploy, gpustack, skypilot, chromium" in capsys.readouterr().out


def test_every_judge_has_its_script():
    for judge in judges.JUDGES.values():
        assert (judges.SCRIPTS / judge.script).exists()


def test_no_test_installs_anything():
    for path in (ROOT / "tests").rglob("*.py"):
        if path.name not in ("judges.py", "test_judges.py"):
            assert not re.search(r"""["']apt-get["']|["']pip["'], ?["']install""", path.read_text()), path


def test_what_asks_a_judge_is_marked():
    """A module that names a judge has the mark; the default run leaves marked tests out."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text()
        if re.search(r"\b(judge_venv|judge_python|chromium)\(|from test_oracle import", text) and path.name != "test_judges.py":
            assert "pytest.mark.judge" in text, path
