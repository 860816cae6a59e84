"""serve.sh against a small real server: whatever goes wrong, nothing is left over, and nobody else's server is taken for ours."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from test_stack_script import Machine, full_disk, listening, wait_for  # noqa: F401 - a fixture

MODEL = "qwen3-8b"


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path, models=(MODEL,), script="serve.sh")
    yield made
    for pid in made.processes():
        os.kill(pid, signal.SIGKILL)


def ended(process: subprocess.Popen, seconds: float = 60) -> tuple[int, str]:
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, output


def started(machine: Machine, **more: str) -> subprocess.Popen:
    """Run until it says that it is ready."""
    process = machine.start(**more)
    for line in process.stdout:
        if line.startswith("ready: "):
            return process
    raise AssertionError(process.wait())


def well(machine: Machine) -> None:
    process = started(machine)
    assert listening(machine.ports[0])
    os.killpg(process.pid, signal.SIGINT)
    code, output = ended(process)
    assert (code, "asked to stop" in output) == (0, True)


def never_healthy(machine: Machine) -> None:
    code, output = ended(machine.start(PLAN_TEST_FAULT=f"never:{MODEL}", PLAN_START_TIMEOUT="1"))
    assert (code, "did not answer" in output) == (1, True), output


def dies(machine: Machine) -> None:
    code, output = ended(machine.start(PLAN_TEST_FAULT=f"dies:{MODEL}"))
    assert (code, "Engine core initialization failed" in output, "ended before it was healthy" in output) == (1, True, True), output


def foreign_server(machine: Machine) -> None:
    """It answers /health as ours would."""
    answer = "import http.server as h, sys; h.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), h.SimpleHTTPRequestHandler).serve_forever()"
    (machine.folder / "health").mkdir(exist_ok=True)
    stranger = subprocess.Popen([sys.executable, "-c", answer, str(machine.ports[0])], cwd=machine.folder, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: listening(machine.ports[0]))
        code, output = ended(machine.start())
        assert (code, f"port {machine.ports[0]} of chat is already in use" in output, "ready:" in output) == (1, True, False), output
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def stubborn(machine: Machine) -> None:
    """The server ignores SIGTERM."""
    process = started(machine, PLAN_TEST_FAULT=f"stubborn:{MODEL}", PLAN_STOP_TIMEOUT="1")
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0


def killed(machine: Machine) -> None:
    """Nobody stops the server; the next run does."""
    process = started(machine)
    process.kill()
    process.stdout.close()
    process.wait()
    assert listening(machine.ports[0])
    process = started(machine)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0


def dies_later(machine: Machine) -> None:
    process = started(machine)
    os.killpg(int((machine.folder / "out" / "run" / "chat.pid").read_text().split()[0]), signal.SIGKILL)
    code, output = ended(process)
    assert (code, "chat died" in output) == (137, True), output


def interrupted(machine: Machine, pause=[0.0]) -> None:  # noqa: B006 - each time a little later
    process = machine.start()
    wait_for((machine.folder / "out" / "run" / "lock").exists)
    pause[0] = (pause[0] + 0.07) % 0.6
    time.sleep(pause[0])
    os.killpg(process.pid, signal.SIGINT)
    assert ended(process)[0] in (0, 130)


FAULTS = (never_healthy, dies, foreign_server, stubborn, killed, dies_later, interrupted)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_nothing_is_left_over_in_a_hundred_runs_half_of_them_with_a_fault(machine, part):
    for number in range(50):
        machine.reset()
        scenario = well if number % 2 else FAULTS[(number // 2 + part) % len(FAULTS)]
        scenario(machine)
        assert machine.is_clean()


@pytest.mark.parametrize("scenario", [well, dies, foreign_server, killed])
def test_nothing_is_left_over(machine, scenario):
    scenario(machine)
    assert machine.is_clean()


def test_two_in_one_folder(machine):
    first = started(machine)
    code, output = ended(machine.start())
    assert (code, "is starting or running these services" in output) == (1, True), output
    assert listening(machine.ports[0])
    assert subprocess.run(["bash", machine.script.with_name("stack.sh"), "stop"], env=machine.environment, capture_output=True, check=False).returncode == 0
    assert ended(first)[0] == 0
    assert machine.is_clean()


def test_what_stack_sh_started_is_left_alone(machine):
    stack = ["bash", machine.script.with_name("stack.sh")]
    assert subprocess.run([*stack, "start"], env=machine.environment, capture_output=True, check=False).returncode == 0
    code, output = ended(machine.start())
    assert (code, "chat is already running, pid" in output) == (1, True), output
    assert listening(machine.ports[0])
    assert subprocess.run([*stack, "stop"], env=machine.environment, capture_output=True, check=False).returncode == 0
    assert machine.is_clean()


def test_a_proxy_in_the_environment_hides_nothing(machine):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        process = started(machine, http_proxy=f"http://127.0.0.1:{nobody.getsockname()[1]}")
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 0
    assert machine.is_clean()


def test_a_full_disk_is_said_and_nothing_is_left(machine, full_disk):  # noqa: F811
    code, output = ended(machine.start(PLAN_STATE_DIR=str(full_disk)))
    assert (code, "disk full?" in output or "cannot write" in output) == (1, True), output
    assert ("write error" in output, "ready:" in output) == (False, False), output
    assert not (full_disk / "run" / "lock").exists()
    assert machine.is_clean()


def test_it_takes_no_words(machine):
    code, output = ended(machine.start("start"))
    assert (code, output.startswith("usage: serve.sh")) == (2, True)
    assert machine.is_clean()
