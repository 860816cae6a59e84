"""Where the answer goes may be full, closed, or read by somebody who leaves: one line or none, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import run_plan

COMMANDS = [
    ("--gpu", "rtx4090", "--model", "qwen3-8b", "--dry-run"),
    ("list", "models"),
    ("--gpu", "rtx4090", "--model", "qwen3-8b", "--dry-run", "--format", "json"),
    ("--help",),
]
FULL = Path("/dev/full")


def run(command, cwd, **streams):
    return subprocess.run([sys.executable, "-m", "planner", *command], cwd=cwd, text=True, timeout=60, check=False, env=os.environ, **streams)


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_the_worlds_fault(command, tmp_path):
    with FULL.open("w") as full:
        done = run(command, tmp_path, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 3, done.stderr
    assert done.stderr.splitlines() == ["plan: the answer cannot be written to standard output (No space left on device)"]


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_errors_that_cannot_be_written_keep_their_code(tmp_path):
    with FULL.open("w") as full:
        assert run(("--gpu", "rtx9999", "--model", "qwen3-8b"), tmp_path, stdout=subprocess.PIPE, stderr=full).returncode == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_who_leaves_ends_it_in_silence(command, tmp_path):
    read, write = os.pipe()
    os.close(read)
    done = run(command, tmp_path, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_output_is_no_traceback(command, tmp_path):
    words = " ".join([sys.executable, "-m", "planner", *command])
    done = subprocess.run(["bash", "-c", f"{words} >&-"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False, env=os.environ)
    assert done.returncode in (0, 3)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_one_line(tmp_path):
    (tmp_path / "shut").mkdir(mode=0)
    done = run_plan("--gpu", "rtx4090", "--model", "shut/model", cwd=tmp_path)
    assert (done.returncode in (2, 3), len(done.stderr.splitlines())) == (True, 1)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_what_windows_powershell_writes_is_read_or_said(encoding, tmp_path):
    """Its > writes UTF-16 with a mark."""
    log = "\ufeffINFO 01-01 00:00:00 [api_server.py:1] vLLM API server version 0.11.0\r\nValueError: No available memory for the cache blocks.\r\n"
    (tmp_path / "server.log").write_bytes(log.encode(encoding))
    done = run_plan("explain", "server.log", cwd=tmp_path)
    assert (done.returncode, "no-kv-memory" in done.stdout) == (1, True), done
    (tmp_path / "serve.sh").write_bytes("\ufeffvllm serve qwen3-8b\r\n".encode(encoding))
    done = run_plan("check", "serve.sh", "--gpu", "rtx4090", cwd=tmp_path)
    assert (done.returncode, "it is UTF-16" in done.stderr) == (2, True), done
