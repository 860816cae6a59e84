"""Sweeps: the same rows whoever computes them and however they are written, interrupted and continued; what is refused."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from planner.facts.speed import significant
from planner.facts.verdict import Verdict
from planner.grid.sweep import COLUMNS, CONTEXTS, MOST_POINTS, Sweep, _two_digits, all_gpus, all_models, part, parts
from tests.conftest import run_plan, spawn
from tests.judges import library

SMALL = Sweep(models=("qwen3-8b", "qwen3-32b-awq", "gpt-oss-20b", "qwen3-embedding-0.6b"), gpus=("rtx4090", "h100", "t4"), contexts=(8192, 131_072))


def same(left, right) -> bool:
    return [name for name, _ in left] == [name for name, _ in right] and all(
        one.keys() == other.keys() and all(np.array_equal(one[key], other[key], equal_nan=one[key].dtype.kind == "f") for key in one)
        for (_, one), (_, other) in zip(left, right, strict=True)
    )


def test_processes_compute_what_one_does():
    sweep = Sweep(models=all_models()[:40], gpus=("rtx4090", "h100"), contexts=(8192,))
    assert same(list(parts(sweep, sweep.models, 1)), list(parts(sweep, sweep.models, 2)))


@pytest.mark.judge
def test_a_ray_cluster_computes_the_same(tmp_path):
    """One that is started for it, then an existing one, whose head Ray's own command starts and `auto` finds. (One test: `ray stop` stops all.)"""
    library("ray")
    ray = Path(sys.executable).with_name("ray")
    options = ("--models", ",".join(SMALL.models), "--gpus", "rtx4090,h100", "--contexts", "8k,128k")

    def swept(name: str, *more: str) -> bytes:
        done = run_plan("sweep", "--output", name, *options, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return (tmp_path / name).read_bytes()

    here = swept("here.parquet", "--jobs", "1")
    assert swept("local.parquet", "--ray", "local") == here
    head = [ray, "start", "--head", "--num-cpus", "2", "--port", "0", "--include-dashboard", "false"]
    started = subprocess.run(head, capture_output=True, text=True, timeout=120, check=False)
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        assert swept("auto.parquet", "--ray", "auto") == here
    finally:
        subprocess.run([ray, "stop"], capture_output=True, timeout=60, check=False)


@pytest.mark.judge
def test_a_cluster_that_is_not_there_is_the_worlds_fault(tmp_path):
    library("ray")
    done = run_plan("sweep", "--output", "x.csv", "--models", "qwen3-8b", "--ray", "127.0.0.1:1", cwd=tmp_path, RAY_gcs_rpc_server_reconnect_timeout_s="1")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr


def read(path: Path) -> list[dict[str, object]]:
    """A sweep's rows, numbers as numbers, nothing where a value is not known."""
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if path.suffix == ".parquet":
        return library("pyarrow.parquet").read_table(path).to_pylist()
    texts = {"model", "gpu", "kv_cache_dtype", "verdict"}
    with path.open() as file:
        return [{key: value if key in texts else None if value == "" else float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("kinds", [("csv", "json"), pytest.param(("csv", "json", "parquet"), marks=pytest.mark.judge)])
def test_all_formats_hold_the_same_rows(kinds, tmp_path):
    rows = {}
    for kind in kinds:
        done = run_plan(
            "sweep", "--output", f"s.{kind}", "--models", ",".join(SMALL.models), "--gpus", ",".join(SMALL.gpus), "--contexts", "8k,128k", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        rows[kind] = read(tmp_path / f"s.{kind}")
    assert list(rows["json"][0]) == list(COLUMNS)
    assert all(rows[kind] == rows["json"] for kind in kinds)
    expected = sum(len(part(SMALL, model)["gpu"]) for model in SMALL.models)
    assert len(rows["json"]) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"s.{kind}" for kind in kinds]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "json", pytest.param("parquet", marks=pytest.mark.judge)])
def test_an_interrupted_sweep_is_valid_and_continues(kind, tmp_path):
    options = ["sweep", "--gpus", "rtx4090,h100,a100-80,l40s", "--contexts", "8k,32k,128k", "--jobs", "1"]
    whole, broken = tmp_path / f"whole.{kind}", tmp_path / f"broken.{kind}"
    assert run_plan(*options, "--output", str(whole), cwd=tmp_path).returncode == 0
    process = spawn(*options, "--output", str(broken), cwd=tmp_path)
    state = tmp_path / f"broken.{kind}.unfinished"
    until = time.monotonic() + 30
    while time.monotonic() < until and not (state.exists() and state.stat().st_size > 30_000):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "--resume goes on" in said
    partial, everything = read(broken), read(whole)
    assert 0 < len(partial) < len(everything)
    assert partial == everything[: len(partial)]
    assert run_plan(*options, "--output", str(broken), cwd=tmp_path).returncode == 2  # nothing is overwritten by chance
    other = run_plan("sweep", "--gpus", "t4", "--output", str(broken), "--resume", cwd=tmp_path)
    assert (other.returncode, "asked something else" in other.stderr) == (2, True)
    done = run_plan(*options, "--output", str(broken), "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read(broken) == everything
    assert not state.exists()


def test_only_what_starts():
    everything, starting = (part(Sweep(**{**SMALL.__dict__, "only_starts": only}), "qwen3-8b") for only in (False, True))
    assert set(starting["verdict"].tolist()) == {Verdict.STARTS.rank}
    assert len(starting["gpu"]) == (everything["verdict"] == Verdict.STARTS.rank).sum()


def test_two_digits_are_those_of_the_estimate():
    values = np.array([0.0123, 1.25, 47.4, 999.0, 1234.5, np.nan])
    found = _two_digits(values)
    assert found[:-1].tolist() == pytest.approx([significant(value) for value in values[:-1]], rel=1e-12)
    assert np.isnan(found[-1])


def test_the_default_grid_has_twenty_contexts():
    assert len(CONTEXTS) == 20
    assert tuple(sorted(CONTEXTS)) == CONTEXTS
    assert Sweep(models=all_models(), gpus=all_gpus()).points < MOST_POINTS


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--counts", "1-1024", "--contexts", ",".join(map(str, range(1000, 9000)))), "points; at most 200,000,000 are computed"),
        (("--counts", "1-999999999999"), "is not within 1 to 1024"),
        (("--counts", "0"), "is not within 1 to 1024"),
        (("--counts", "nan"), "cannot be read"),
        (("--contexts", "nan"), "cannot be read"),
        (("--contexts", "0"), "below 1"),
        (("--models", "qwen3-8bb"), "unknown model"),
        (("--models", "qwen3-8b-ollama-q4-k-m"), "is for ollama"),
        (("--gpus", "rtx9999"), "not in the catalogue"),
        (("--gpus", "m4-max-64gb"), "needs an NVIDIA or AMD GPU"),
        (("--users", "0"), "not in the range"),
        (("--resume",), "there is no unfinished sweep"),
    ],
)
def test_what_is_refused_before_anything_is_written(options, says, tmp_path):
    start = time.perf_counter()
    done = run_plan("sweep", "--output", "x.csv", *options, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert time.perf_counter() - start < 20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "code"), [("x.xlsx", 2), ("x", 2), ("/proc/nothing/x.csv", 3)])
def test_files_that_cannot_be_written(name, code, tmp_path):
    done = run_plan("sweep", "--output", name, "--models", "qwen3-8b", cwd=tmp_path)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
