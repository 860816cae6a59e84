"""A sweep that is ended anywhere, by anything, as often as one likes, and resumed, is the sweep that was not ended."""

import csv
import json
import os
import random
import signal
import subprocess
import time
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
from conftest import run_plan, spawn
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.grid.files import target
from planner.grid.sweep import Sweep, all_models, part
from tests.judges import library

KINDS = ("csv", "json", pytest.param("parquet", marks=pytest.mark.judge))
SMALL = Sweep(
    models=("qwen3-8b", "qwen3-32b-awq", "gpt-oss-20b", "qwen3-embedding-0.6b", "qwen3-4b"), gpus=("rtx4090", "t4"), counts=(1, 2), contexts=(8192, 131_072)
)


@cache
def columns(model: str):
    return part(SMALL, model)


def whole(kind: str, folder: Path) -> bytes:
    """The file of a sweep that was not ended."""
    file = target(folder / f"whole.{kind}", SMALL)
    file.start()
    for model in SMALL.models:
        file.add(model, columns(model))
    file.finish()
    return (folder / f"whole.{kind}").read_bytes()


def is_valid(path: Path) -> int:
    """The rows of a file that any reader of its format reads."""
    if path.suffix == ".json":
        return len(json.loads(path.read_text()))
    if path.suffix == ".parquet":
        rows: int = library("pyarrow.parquet").read_table(path).num_rows
        return rows
    with path.open() as text:
        rows = list(csv.reader(text))
    assert len({len(row) for row in rows}) == 1
    return len(rows) - 1


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(data=st.data())
def test_a_journal_that_is_torn_or_changed_anywhere_is_gone_on_with(kind, data, tmp_path_factory):
    """What SIGKILL, a full disk or a stranger leave: the journal is cut off at any byte, or a byte of it changed; what comes out is whole."""
    folder = tmp_path_factory.mktemp("sweep")
    wanted = whole(kind, folder)
    path = folder / f"x.{kind}"
    for run in range(data.draw(st.integers(1, 4), label="runs")):
        file = target(path, SMALL)
        models, is_told = data.draw(st.integers(0, 3), label="models"), data.draw(st.booleans(), label="told to end")
        with closing(file.journal):
            file.resume() if run else file.start()
            for model in SMALL.models[len(file.done) :][:models]:
                file.add(model, columns(model))
            if is_told:
                file.leave()
                assert is_valid(path) == file.rows
        content = bytearray(file.journal.path.read_bytes())
        head = content.index(b"\n") + 1
        at = data.draw(st.integers(0, len(content) - head), label="at") + head
        fate = data.draw(st.sampled_from(["cut", "flip", "more", "nothing"]), label="fate")
        if fate == "cut":
            content = content[:at]
        elif fate == "flip" and at < len(content):
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif fate == "more":
            content += data.draw(st.binary(max_size=50))
        file.journal.path.write_bytes(content)
    file = target(path, SMALL)
    file.resume()
    for model in SMALL.models[len(file.done) :]:
        file.add(model, columns(model))
    file.finish()
    assert path.read_bytes() == wanted
    assert sorted(each.name for each in folder.iterdir()) == sorted([f"whole.{kind}", f"x.{kind}"])


@settings(max_examples=60)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.builds(json.dumps, st.dictionaries(st.sampled_from(["question", "done", "rows", "size_bytes", "journal"]), st.one_of(st.none(), st.integers(), st.text(), st.lists(st.text()), st.just(10**11)))).map(str.encode),
    )
)  # fmt: skip
def test_what_is_no_journal_is_refused_in_words(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    file = target(folder / "x.csv", SMALL)
    file.journal.path.write_bytes(content)
    try:
        file.resume()
    except PlannerError as error:
        assert "\n" not in error.message
    file.journal.close()
    assert file.journal.path.stat().st_size <= max(200, len(content))


def test_one_process_at_a_time(tmp_path):
    file = target(tmp_path / "x.csv", SMALL)
    file.start()
    other = target(tmp_path / "x.csv", SMALL)
    for take in (other.start, other.resume):
        with pytest.raises(PlannerError, match="another sweep is writing it"):
            take()
    file.add(SMALL.models[0], columns(SMALL.models[0]))
    file.finish()


OPTIONS = ("--models", ",".join(all_models()[:50]), "--gpus", "rtx4090,h100,a100-80,l40s", "--contexts", "8k,32k,128k")


@cache
def uninterrupted(kind: str, folder: Path) -> bytes:
    done = run_plan("sweep", *OPTIONS, "--output", f"whole.{kind}", cwd=folder)
    assert done.returncode == 0, done.stderr
    return (folder / f"whole.{kind}").read_bytes()


def end(process: subprocess.Popen, journal: Path, number: int, after_bytes: int, *, group: bool) -> tuple[int, str]:
    """Let it go on by so many bytes, then end it."""
    until, before = time.monotonic() + 60, journal.stat().st_size if journal.exists() else 0
    while process.poll() is None and time.monotonic() < until and not (journal.exists() and journal.stat().st_size > before + after_bytes):
        time.sleep(0.005)
    if process.poll() is None:
        os.killpg(process.pid, number) if group else process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize(
    ("kind", "jobs", "group"),
    [
        pytest.param("csv", 1, False, marks=pytest.mark.slow),
        pytest.param("json", 2, True, marks=pytest.mark.slow),
        *(pytest.param("parquet", jobs, jobs == 2, marks=pytest.mark.judge) for jobs in (1, 2)),
    ],
)
def test_a_sweep_that_is_ended_again_and_again_is_the_one_that_was_not(kind, jobs, group, tmp_path, tmp_path_factory):
    """By Ctrl-C, SIGTERM and SIGKILL in turn, of the process or of its group; then it runs through."""
    wanted = uninterrupted(kind, tmp_path_factory.getbasetemp())
    path, journal = tmp_path / f"x.{kind}", tmp_path / f"x.{kind}.unfinished"
    chance = random.Random(f"{kind} {jobs}")
    for turn, number in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)):
        words = ["sweep", *OPTIONS, "--jobs", str(jobs), "--output", path.name, *(["--resume"] if turn else [])]
        process = spawn(*words, cwd=tmp_path, start_new_session=True)
        code, said = end(process, journal, number, chance.randrange(0, 40_000), group=group)
        assert "Traceback" not in said, said
        if code == 0:  # it was faster
            break
        assert code == (-number if number == signal.SIGKILL else 128 + number), said
        assert journal.exists()
        if number != signal.SIGKILL:
            assert "--resume goes on" in said
            assert is_valid(path) >= 0
    if journal.exists():
        assert run_plan("sweep", *OPTIONS, "--output", path.name, cwd=tmp_path).returncode == 2  # nothing is overwritten by chance
        done = run_plan("sweep", *OPTIONS, "--output", path.name, "--resume", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert path.read_bytes() == wanted
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def killed(file, chance: random.Random) -> None:
    """Go on with a sweep in a child that SIGKILL ends: between two models or in the midst of a write, of which some bytes arrive."""
    left = chance.randrange(0, 250_000)
    between = [chance.random() < 0.2 for _ in SMALL.models]

    class Torn:
        def __init__(self, whole) -> None:
            self.whole = whole

        def __getattr__(self, name: str):
            return getattr(self.whole, name)

        def write(self, data: bytes) -> None:
            nonlocal left
            self.whole.write(data[:left])
            self.whole.flush()
            if len(data) > left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= len(data)

    if not (child := os.fork()):
        try:
            file.journal.file = Torn(file.journal.file)
            for model, ends in zip(SMALL.models[len(file.done) :], between, strict=False):
                if ends:
                    os.kill(os.getpid(), signal.SIGKILL)
                file.add(model, columns(model))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_killed_at_fifty_random_moments_is_the_one_that_was_not(kind, tmp_path):
    wanted, chance = whole(kind, tmp_path), random.Random(kind)
    path, kills = tmp_path / f"x.{kind}", 0
    while kills < 50:
        file = target(path, SMALL)
        with closing(file.journal):
            file.start()
            killed(file, chance)
        for _ in range(chance.randrange(0, 4)):
            file, kills = target(path, SMALL), kills + 1
            with closing(file.journal):
                file.resume()
                killed(file, chance)
        file, kills = target(path, SMALL), kills + 1
        file.resume()
        for model in SMALL.models[len(file.done) :]:
            file.add(model, columns(model))
        file.finish()
        assert path.read_bytes() == wanted
        path.unlink()
        assert [left.name for left in tmp_path.iterdir()] == [f"whole.{kind}"]


def test_no_worker_outlives_a_sweep_that_was_killed(tmp_path):
    process = spawn("sweep", *OPTIONS, "--jobs", "2", "--output", "x.csv", cwd=tmp_path, start_new_session=True)
    end(process, tmp_path / "x.csv.unfinished", signal.SIGKILL, 0, group=False)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("a worker is left")


def test_a_sweep_in_the_background_ends_by_sigterm(tmp_path):
    """Where SIGINT is ignored, as a shell has it for `plan sweep … &`, it stays ignored; SIGTERM ends the sweep and leaves a valid file."""
    process = spawn("sweep", *OPTIONS, "--jobs", "1", "--output", "x.csv", cwd=tmp_path, interruptible=False)
    journal = tmp_path / "x.csv.unfinished"
    while process.poll() is None and not journal.exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    code, said = end(process, journal, signal.SIGTERM, 10_000, group=False)
    assert code in (0, 128 + signal.SIGTERM), said
    assert is_valid(tmp_path / "x.csv") > 0
