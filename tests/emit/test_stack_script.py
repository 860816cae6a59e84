"""stack.sh against small real servers that obey vLLM's rule for memory: whatever goes wrong, nothing is left over."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ROOT, free_ports, run_plan

MODELS = ("qwen3-8b", "qwen3-4b", "qwen3-embedding-0.6b")
ROUNDS = 25


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Machine:
    """A folder with an emitted stack (four services, or one and the proxy), simulated GPUs, and stand-ins for vllm and litellm on PATH."""

    def __init__(self, folder: Path, models: tuple[str, ...] = MODELS, script: str = "stack.sh") -> None:
        self.folder, self.mark = folder, f"PLAN_TEST_MARK={folder}"
        self.ports = free_ports(len(models) + 1)
        stack = {
            "gpu": "rtx4090",
            "count": 2,
            "proxy_port": self.ports[-1],
            "services": [
                {"model": model, "port": port, **({"context": 8192} if index == 1 else {})}
                for index, (model, port) in enumerate(zip(models, self.ports, strict=False))
            ],
        }
        (folder / "stack.json").write_text(json.dumps(stack))
        done = run_plan("-f", "stack.json", "--output", str(folder / "out"), "--format", "json", cwd=folder)
        assert done.returncode == 0, done.stderr + done.stdout[-500:]
        self.answer = json.loads(done.stdout)
        self.script = folder / "out" / script
        tools = folder / "tools"
        tools.mkdir()
        for name in ("vllm", "litellm"):
            (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "tests" / "stand_ins" / "vllm"} "$@"\n')
            (tools / name).chmod(0o755)
        self.environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "LITELLM_MASTER_KEY": "sk-only-for-this-test",
            "PLAN_TEST_GPUS": str(folder / "gpus.json"),
            "PLAN_TEST_MARK": str(folder),
            "PLAN_STOP_TIMEOUT": "10",
        }
        self.reset()

    def reset(self) -> None:
        total = self.answer["hardware"]["cuda_total_bytes"]
        (self.folder / "gpus.json").write_text(json.dumps({"total": total, "held": {}}))

    def start(self, *words: str, **more: str) -> subprocess.Popen:
        return subprocess.Popen(
            ["bash", self.script, *words],
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, **more: str) -> tuple[int, str]:
        process = self.start(*words, **more)
        output, _ = process.communicate(timeout=90)
        return process.returncode, output

    def processes(self) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.mark.encode() in path.read_bytes() and path.with_name("stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found

    def is_clean(self) -> bool:
        files = list((self.folder / "out" / "run").rglob("*"))
        left = [self.processes(), [port for port in self.ports if listening(port)], [str(path) for path in files]]
        assert left == [[], [], []]
        return True


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    yield made
    for pid in made.processes():
        os.kill(pid, signal.SIGKILL)


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def well(machine: Machine) -> None:
    code, output = machine.run("start")
    assert code == 0, output
    assert [line.split()[0] for line in output.splitlines() if "answers at" in line] == [each["name"] for each in machine.answer["services"]] + ["litellm"]
    code, output = machine.run("status")
    assert (code, output.count("healthy")) == (0, 4)
    code, output = machine.run("stop")
    assert code == 0, output


def never_healthy(machine: Machine) -> None:
    code, output = machine.run("start", PLAN_TEST_FAULT="never:qwen3-8b", PLAN_START_TIMEOUT="1")
    assert code == 1
    assert "did not answer" in output


def dies(machine: Machine) -> None:
    code, output = machine.run("start", PLAN_TEST_FAULT="dies:qwen3-8b")
    assert code == 1
    assert "Engine core initialization failed" in output  # the log is shown
    assert "ended before it was healthy" in output


def busy_port(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", machine.ports[0])):
        code, output = machine.run("start")
        assert code == 1
        assert f"port {machine.ports[0]} of chat is already in use" in output


def interrupted(machine: Machine, pause=[0.0]) -> None:  # noqa: B006 - each time a little later
    process = machine.start("start")
    wait_for((machine.folder / "out" / "run" / "lock").exists)
    pause[0] = (pause[0] + 0.13) % 1.5
    time.sleep(pause[0])
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, _ = process.communicate(timeout=60)
    if process.returncode == 0:  # everything was up already
        machine.run("stop")
    else:
        assert (process.returncode, "interrupted; stopping everything" in output) == (130, True), output


FAULTS = (never_healthy, dies, busy_port, interrupted)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(100 // ROUNDS))
def test_nothing_is_left_over_in_a_hundred_runs_half_of_them_with_a_fault(machine, part):
    for number in range(ROUNDS):
        machine.reset()
        scenario = well if number % 2 else FAULTS[(number // 2 + part) % len(FAULTS)]
        scenario(machine)
        assert machine.is_clean()


def test_started_twice_killed_and_restarted(machine):
    code, _ = machine.run("start")
    assert code == 0
    code, output = machine.run("start")
    assert (code, output.count("is already running")) == (0, 4)
    pid = int((machine.folder / "out" / "run" / "chat.pid").read_text().split()[0])
    os.killpg(pid, signal.SIGKILL)
    wait_for(lambda: not listening(machine.ports[0]))
    code, output = machine.run("status")
    assert (code, "chat: died; its pid file is left" in output) == (3, True)
    code, output = machine.run("start")  # each fits beside the others again
    assert code == 0, output
    assert machine.run("logs", "chat")[1].count("qwen3-8b is loaded") == 2
    assert machine.run("stop")[0] == 0
    assert machine.is_clean()
    code, output = machine.run("status")
    assert (code, output.count("stopped")) == (3, 4)


@pytest.mark.skipif(shutil.which("ps") is None, reason="no ps on this machine")
@pytest.mark.slow
def test_the_way_that_macos_takes_without_proc(machine):
    machine.script.write_text(machine.script.read_text().replace("/proc/self", "/no/proc"))
    for scenario in (well, dies, busy_port):
        machine.reset()
        scenario(machine)
        assert machine.is_clean()


def test_a_pid_that_belongs_to_someone_else_is_not_killed(machine):
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    run = machine.folder / "out" / "run"
    run.mkdir()
    (run / "chat.pid").write_text(f"{stranger.pid}\n{stranger.pid} 1\n")
    assert machine.run("stop")[0] == 0
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
    assert machine.is_clean()


def test_a_start_killed_midway_is_taken_over(machine):
    process = machine.start("start", PLAN_TEST_FAULT="never:qwen3-8b")
    wait_for((machine.folder / "out" / "run" / "chat.pid").exists)
    code, output = machine.run("start")
    assert (code, "is starting or running these services" in output) == (1, True)
    process.kill()
    process.stdout.close()
    process.wait()
    for action in ("stop", "start", "stop"):
        code, output = machine.run(action)
        assert code == 0, (action, output)
    assert machine.is_clean()


def test_a_run_that_was_killed_leaves_no_lock_once_it_is_stopped(machine):
    process = machine.start("run")
    wait_for(lambda: listening(machine.ports[3]))
    process.kill()
    process.stdout.close()
    process.wait()
    assert machine.run("stop")[0] == 0
    wait_for(lambda: not machine.processes())  # the second that it waited for ends by itself
    assert machine.is_clean()


def test_a_log_that_grows_is_cut_and_its_end_kept(machine):
    assert machine.run("start", PLAN_TEST_FAULT="chatty:qwen3-8b", PLAN_LOG_MIB="1")[0] == 0
    log = machine.folder / "out" / "logs" / "chat.log"
    wait_for(log.with_name("chat.log.1").exists)
    wait_for(lambda: 0 < log.with_name("chat.log.1").stat().st_size <= 2**20)
    assert machine.run("stop")[0] == 0
    assert log.stat().st_size < 40 * 2**20
    assert machine.is_clean()


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a file system without room for a byte."""
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    with suppress(OSError):
        (folder / "ballast").write_bytes(bytes(2**16))
    yield folder
    subprocess.run(["umount", "-l", folder], check=False)


def test_a_full_disk_is_said_and_nothing_is_left(machine, full_disk):
    code, output = machine.run("start", PLAN_STATE_DIR=str(full_disk))
    assert (code, "disk full?" in output or "cannot write" in output) == (1, True), output
    assert "write error" not in output
    assert not (full_disk / "run" / "lock").exists()
    assert machine.is_clean()


def test_run_stops_everything_when_one_dies_and_on_sigterm(machine):
    process = machine.start("run")
    wait_for(lambda: listening(machine.ports[3]))
    os.killpg(int((machine.folder / "out" / "run" / "embedding.pid").read_text().split()[0]), signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == 1
    assert machine.is_clean()
    process = machine.start("run")
    wait_for(lambda: listening(machine.ports[3]))
    assert machine.run("stop")[0] == 0
    process.communicate(timeout=30)
    assert process.returncode in (0, 130)  # running, or just about to
    assert machine.is_clean()


def test_what_cannot_work_is_said(machine):
    assert machine.run("start", LITELLM_MASTER_KEY="")[0] == 1
    assert "LITELLM_MASTER_KEY is not set" in machine.run("start", LITELLM_MASTER_KEY="")[1]
    assert machine.run("logs", "nobody")[0] == 1
    assert machine.run("dance")[0] == 2
    (machine.folder / "file").write_text("")
    code, output = machine.run("start", PLAN_STATE_DIR=str(machine.folder / "file"))
    assert (code, "cannot write below" in output) == (1, True)
    assert machine.is_clean()
