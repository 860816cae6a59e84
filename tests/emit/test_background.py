"""The tests pass when they are started in the background of a shell, which ignores SIGINT for them and all they start."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT


def ignores_interrupts(pid: str = "self") -> bool:
    """Whether a process ignores SIGINT."""
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - not a file of ours
        (mask,) = [line.split()[1] for line in status if line.startswith("SigIgn:")]
    return bool(int(mask, 16) & 1 << (signal.SIGINT - 1))


@pytest.mark.slow
def test_what_the_tests_start_can_be_interrupted():
    """Here, and in tests that were started so that they cannot."""
    assert not ignores_interrupts()
    asked = "import test_background as t; raise SystemExit(t.ignores_interrupts())"
    assert (
        subprocess.run(
            [sys.executable, "-c", asked], cwd=ROOT, check=False, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{ROOT / 'tests' / 'emit'}"}
        ).returncode
        == 0
    )
    if "PLAN_TESTS_IN_BACKGROUND" not in os.environ:
        command = f'trap "" INT; exec {sys.executable} -m pytest -q -n 0 -m slow -p no:cacheprovider {__file__}'
        done = subprocess.run(
            ["bash", "-c", command], cwd=ROOT, env={**os.environ, "PLAN_TESTS_IN_BACKGROUND": "1"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
