"""What is kept of this machine's GPUs: nothing is lost where several write at once, and whatever else lies there is one line."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT, run_plan
from hypothesis import given
from hypothesis import strategies as st

from planner.catalogue import load
from planner.errors import PlannerError
from planner.facts.hardware import Calibrated
from planner.machine.calibration import _read, calibrated, calibration_path, save_speed

WRITER = """
import sys
from planner.catalogue import load
from planner.machine.calibration import save_speed
from planner.facts.hardware import Calibrated
for name in sys.argv[1:]:
    save_speed(load.find_gpu(name).name, Calibrated(step=1.5, first_token=2.5, count=1, model="x", engine="vllm"))
"""


def test_writers_at_once_lose_nothing(tmp_path):
    names = [row.name for row in load.gpu_rows() if not row.memory_options_gb][:24]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    started = [subprocess.Popen([sys.executable, "-c", WRITER, *names[number::6]], env=environment, stderr=subprocess.PIPE, text=True) for number in range(6)]
    for process in started:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    (path,) = tmp_path.rglob("calibration.json")
    assert set(json.loads(path.read_text())["gpus"]) == {load.find_gpu(name).name for name in names}
    assert sorted(each.name for each in path.parent.iterdir()) == ["calibration.json", "calibration.json.lock"]


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", "{}", '{"schema": 1}', "\x00", '{"schema": 1, "gpus": 3}'])
def test_what_is_no_calibration_is_one_line_and_costs_no_answer(text, tmp_path):
    path = tmp_path / "serve-plan" / "calibration.json"
    path.parent.mkdir()
    (tmp_path / "plan").mkdir()
    for folder in ("plan", "serve-plan"):
        (tmp_path / folder / "calibration.json").write_text(text)
    done = run_plan("--gpu", "rtx4090", "--model", "qwen3-8b", "--dry-run", cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path))
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1), done.stderr
    assert "passed over" in done.stderr


def test_a_pipe_is_no_calibration(tmp_path):
    os.mkfifo(tmp_path / "x")
    with pytest.raises(PlannerError):
        _read(tmp_path / "x")


JSON = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just(10**400)), lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)), max_leaves=5)  # fmt: skip

NUMBER = st.one_of(st.floats(0.1, 10), JSON)
SPEED = st.fixed_dictionaries({"step": NUMBER, "first_token": NUMBER, "count": st.one_of(st.integers(1, 8), JSON), "model": JSON}, optional={"engine": JSON, "users": JSON, "crowd_step": JSON})  # fmt: skip


@given(
    shift=JSON,
    speed=st.one_of(JSON, SPEED),
    speeds=st.one_of(JSON, st.lists(st.one_of(JSON, SPEED), max_size=3)),
    entry=st.one_of(st.none(), JSON),
)
def test_an_entry_of_anything_is_used_or_passed_over(shift, speed, speeds, entry, tmp_path_factory):
    """And a new measurement takes its place."""
    gpu = load.find_gpu("rtx4090")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        path = calibration_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"schema": 1, "gpus": {gpu.name: entry if entry is not None else {"shift_bytes": shift, "speed": speed, "speeds": speeds}}}))
        found = calibrated(gpu)
        assert found.calibrated_shift_bytes is None or abs(found.calibrated_shift_bytes) < gpu.memory_bytes
        kept = Calibrated(step=1.5, first_token=2.5, count=2, model="x", engine="mlx", users=8, crowd_step=1.25)
        save_speed(gpu.name, kept)
        assert calibrated(gpu).calibrated_speeds[-1] == kept
        assert set(found.calibrated_speeds) <= {
            *calibrated(gpu).calibrated_speeds,
            *(old for old in found.calibrated_speeds if (old.engine, old.count) == ("mlx", 2)),
        }
