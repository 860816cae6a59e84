"""`plan bench`: times are those that the server takes, faults are named, what is kept changes later plans of the same GPUs only."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from planner.errors import WorldError
from planner.machine.bench import WORDS, Answered, ask, bench
from tests.conftest import run_plan

PREFILL_S, STEP_S = 0.12, 0.01


class Server(BaseHTTPRequestHandler):
    """An OpenAI server that takes PREFILL_S for a prompt and STEP_S for a token."""

    fault = ""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._json({"data": [{"id": "made"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert body["ignore_eos"]
        if self.fault == "status":
            self._json({"error": "no such model"}, 404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        time.sleep(PREFILL_S)
        for number in range(body["max_tokens"]):
            if number:
                time.sleep(STEP_S)
            text = {"nonsense": "data: {", "silent": 'data: {"choices": [{"text": ""}]}'}.get(self.fault, 'data: {"choices": [{"text": "x"}]}')
            self.wfile.write(f"{text}\n\n".encode())
            self.wfile.flush()
        usage = {"prompt_tokens": len(body["prompt"].split()), "completion_tokens": body["max_tokens"]}
        self.wfile.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n".encode())

    def _json(self, data, status=200):
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@contextmanager
def serving(fault: str = "") -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Faulty", (Server,), {"fault": fault}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_times_are_those_that_the_server_takes():
    with serving() as url:
        found = bench(f"{url}/v1", None, 200, 40, 4)
    assert found.model == "made"
    assert found.answer_tokens == 40
    assert found.prompt_tokens == pytest.approx(200, rel=0.1)
    assert PREFILL_S <= found.first_token_s < 2 * PREFILL_S
    assert STEP_S <= found.per_token_s < 1.6 * STEP_S
    assert found.together_tokens_per_s > 2.5 * 40 / (PREFILL_S + 40 * STEP_S)


ASKED = ("bench", "--gpu", "h100", "--model", "qwen3-8b", "--input", "200", "--answer", "32", "--at-once", "2")


@pytest.mark.slow
def test_what_is_kept_changes_later_plans_of_as_many_gpus(tmp_path):
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    plan = ("--gpu", "h100", "--model", "qwen3-14b", "--format", "json", "--dry-run")
    before = json.loads(run_plan(*plan, cwd=tmp_path, **home).stdout)["speed"]
    with serving() as url:
        done = run_plan(*ASKED, "--url", url, "--save-calibration", "--format", "json", cwd=tmp_path, **home)
    assert done.returncode == 0, done.stderr
    step, first = json.loads(done.stdout)["measured_over_predicted"]
    assert step > 1
    assert first > 1
    after = json.loads(run_plan(*plan, cwd=tmp_path, **home).stdout)["speed"]
    assert after["grade"] == "measured here"
    assert after["tokens_per_s"]["expected"] == pytest.approx(before["tokens_per_s"]["expected"] / step, rel=0.06)
    assert after["time_to_first_token_s"]["expected"] == pytest.approx(before["time_to_first_token_s"]["expected"] * first, rel=0.06)
    two = json.loads(run_plan(*plan, "--count", "2", cwd=tmp_path, **home).stdout)["speed"]
    assert two["grade"] != "measured here"
    kept = tmp_path / "config" / "plan" / "calibration.json"
    kept.write_text(kept.read_text().replace('"step"', '"stop"'))
    assert json.loads(run_plan(*plan, cwd=tmp_path, **home).stdout)["speed"] == before


@pytest.mark.slow
def test_a_row_is_printed_as_the_collection_has_them(tmp_path):
    with serving() as url:
        done = run_plan(*ASKED, "--url", url, cwd=tmp_path)
    head, alone, together, said = done.stdout.splitlines()
    row = dict(zip(head.split(","), alone.split(","), strict=True))
    assert row["gpu"] == "h100"
    assert float(row["ttft_ms"]) >= 1000 * PREFILL_S
    assert together.split(",")[head.split(",").index("concurrency")] == "2"
    assert said.startswith("measured over predicted: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("fault", "says"), [("status", "HTTP 404"), ("nonsense", "something else than JSON"), ("silent", "no text that could be timed")])
def test_faults_of_the_server(fault, says, tmp_path):
    with serving(fault) as url:
        done = run_plan(*ASKED, "--url", url, cwd=tmp_path)
    assert done.returncode == 3
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("url", "code"), [("http://127.0.0.1:1", 3), ("file:///etc/passwd", 2), ("nonsense", 2)])
def test_servers_that_are_not_there(url, code, tmp_path):
    done = run_plan(*ASKED, "--url", url, cwd=tmp_path)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def first_timed(client: httpx.Client, model: str) -> Answered:
    """An answer of a random model of bytes: many of its texts are no text at all, and arrive as one piece."""
    for word in WORDS.split():
        with suppress(WorldError):
            return ask(client, model, f"{word} stone", 24)
    pytest.fail("no prompt was answered with text")


@pytest.mark.judge
def test_mlx_s_own_server_is_measured(tmp_path):
    """A real server that streams: mlx-lm's, with a tiny model, on the CPU."""
    from test_mlx import judge
    from test_proxy import free_port

    from tests.conftest import ROOT

    subprocess.run([judge("python"), ROOT / "tests" / "oracle" / "tiny_mlx_model.py", tmp_path / "tiny"], check=True, capture_output=True, timeout=120)
    port = free_port()
    with subprocess.Popen(
        [judge("mlx_lm.server"), "--model", tmp_path / "tiny", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            url, until = f"http://127.0.0.1:{port}", time.monotonic() + 120
            while time.monotonic() < until:
                try:
                    if httpx.get(f"{url}/v1/models", timeout=5).status_code == 200:
                        break
                except httpx.HTTPError:
                    time.sleep(0.5)
            with httpx.Client(base_url=url, timeout=60) as client:
                found = first_timed(client, str(tmp_path / "tiny"))
            assert 0 < found.first_token_s < found.whole_s
            assert found.answer_tokens >= 2
        finally:
            server.terminate()
