"""`plan bench`: times are those that the server takes, faults are one line, what is kept changes later plans of the same GPUs and engine only."""

import csv
import io
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from benchmarks.speed_models import work_of
from benchmarks.speed_rows import figures, left_out
from planner.errors import PlannerError, WorldError
from planner.facts.hardware import Calibrated
from planner.machine import bench as measuring
from planner.machine.bench import WORDS, Answered, Asking, bench, chosen
from planner.questions.experiment import Held
from planner.report.bench import TABLE
from planner.speed.estimate import Pace
from tests.conftest import ROOT, run_plan

PREFILL_S, STEP_S = 0.12, 0.01
LINES = {
    "nonsense": "data: {",
    "silent": 'data: {"choices": [{"text": ""}]}',
    "deep": "data: " + "[" * 100_000,
    "error": 'data: {"error": {"message": "CUDA error"}}',
}


class Server(BaseHTTPRequestHandler):
    """An OpenAI server that takes PREFILL_S for a prompt and STEP_S for a token."""

    fault, name = "", "qwen3-8b"
    asked: list[tuple[str, str | None]]

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.asked.append((self.path, self.headers["Authorization"]))
        self._json({"data": [] if self.fault == "no model" else [{"id": self.name}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers["Authorization"]))
        is_chat = self.path.endswith("/chat/completions")
        assert body["ignore_eos"]
        if self.fault in ("404", "500") or (self.fault == "chat" and not is_chat):
            self._json({"error": "no such thing"}, 500 if self.fault == "500" else 404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        start, asked = time.perf_counter(), body["max_tokens"]
        with suppress(BrokenPipeError, ConnectionResetError):
            for number in range(10**9 if self.fault == "endless" else asked // 2 if self.fault == "half" else asked):
                if self.fault != "endless":
                    time.sleep(max(0.0, start + PREFILL_S + number * STEP_S - time.perf_counter()))
                piece = {"delta": {"reasoning_content": "x"}} if is_chat else {"text": "x"}
                self._line(LINES.get(self.fault, f"data: {json.dumps({'choices': [piece]})}"))
                if self.fault == "mute":
                    time.sleep(1.5)
            if self.fault == "half":
                return
            usage = {"prompt_tokens": len(str(body.get("prompt") or body["messages"]).split()), "completion_tokens": asked}
            self._line(f"data: {json.dumps({'choices': [], 'usage': usage})}")
            self._line("data: [DONE]")

    def _line(self, text):
        self.wfile.write(f"{text}\n\n".encode())
        self.wfile.flush()

    def _json(self, data, status=200):
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@contextmanager
def serving(fault: str = "", name: str = "qwen3-8b", asked: list | None = None) -> Iterator[str]:
    handler = type("Faulty", (Server,), {"fault": fault, "name": name, "asked": [] if asked is None else asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("fault", ["", "chat"])
def test_times_are_those_that_the_server_takes(fault):
    with serving(fault) as url:
        model, (alone, together) = bench(f"{url}/v1", None, prompt=200, answer=40, points=(1, 4), wanted=["qwen3-8b"])
    assert model == "qwen3-8b"
    assert (alone.users, together.users, alone.answer_tokens) == (1, 4, 40)
    assert alone.prompt_tokens == pytest.approx(200, rel=0.1)
    for point in (alone, together):
        assert point.first_token_s == pytest.approx(PREFILL_S, rel=0.15)
        assert point.per_token_s == pytest.approx(STEP_S, rel=0.05)
        assert point.tokens_per_s == pytest.approx(point.users * 40 / (PREFILL_S + 39 * STEP_S), rel=0.15)


@pytest.mark.parametrize(
    ("served", "wanted", "named", "asked"),
    [
        (["a", "Qwen/Qwen3-8B"], ["Qwen/Qwen3-8B", "qwen3-8b"], None, "Qwen/Qwen3-8B"),
        (["/models/Qwen3-8B-Q4_K_M.gguf"], ["Qwen3-8B-Q4_K_M.gguf"], None, "/models/Qwen3-8B-Q4_K_M.gguf"),
        (["qwen3-8b:latest"], ["qwen3-8b"], None, "qwen3-8b:latest"),
        (["gpt-4"], ["qwen3-8b"], "gpt-4", "gpt-4"),
        (["gpt-4"], ["qwen3-8b"], None, "the plan is of qwen3-8b, the server has gpt-4"),
        (["gpt-4"], ["qwen3-8b"], "gpt-5", "the server has no model 'gpt-5'"),
    ],
)
def test_the_model_that_is_asked_is_the_plan_s(served, wanted, named, asked):
    try:
        assert chosen(served, wanted, named) == asked
    except PlannerError as error:
        assert error.message == asked


def test_a_server_that_goes_mute_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(measuring, "SILENCE_S", 0.5)
    with serving("mute") as url, pytest.raises(WorldError, match=r"nothing arrived for 0\.5 s"):
        bench(url, None, prompt=20, answer=16, points=(1,), wanted=["qwen3-8b"])


ASKED = ("bench", "--gpu", "h100", "--model", "qwen3-8b", "--input", "200", "--answer", "32", "--concurrency", "2")


@pytest.mark.slow
def test_what_is_kept_changes_later_plans_of_as_many_gpus(tmp_path):
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    load = ("--input", "200", "--output-tokens", "32", "--format", "json", "--dry-run")
    plan = ("--gpu", "h100", "--model", "qwen3-8b", *load)
    others = [(*plan, "--count", "2"), (*plan, "--engine", "llama.cpp")]
    before, *unchanged = [json.loads(run_plan(*words, cwd=tmp_path, **home).stdout)["speed"] for words in (plan, *others)]
    for _ in range(2):  # what was kept before takes no part in what is kept now
        with serving() as url:
            done = run_plan(*ASKED, "--url", url, "--format", "json", cwd=tmp_path, **home)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        step, first = answer["measured_over_predicted"]
        assert answer["kept"] == (1 / 5 < first < 5)
        if not answer["kept"]:
            with serving() as url:
                run_plan(*ASKED, "--url", url, "--save-calibration", cwd=tmp_path, **home)
    after, *same = [json.loads(run_plan(*words, cwd=tmp_path, **home).stdout)["speed"] for words in ((*plan, "--concurrency", "1"), *others)]
    assert after["grade"] == "measured here"
    assert after["tpot_s"]["expected"] == pytest.approx(STEP_S, rel=0.1)
    assert after["ttft_s"]["expected"] == pytest.approx(PREFILL_S, rel=0.2)
    assert before["tokens_per_s"]["expected"] / after["tokens_per_s"]["expected"] == pytest.approx(step, rel=0.1)
    two = json.loads(run_plan(*plan, "--concurrency", "2", cwd=tmp_path, **home).stdout)["speed"]
    assert two["tpot_s"]["expected"] == pytest.approx(STEP_S, rel=0.1)
    assert two["ttft_s"]["expected"] == pytest.approx(PREFILL_S, rel=0.2)
    assert same == unchanged
    kept = tmp_path / "config" / "plan" / "calibration.json"
    kept.write_text(kept.read_text().replace('"step"', '"stop"'))
    assert json.loads(run_plan(*plan, cwd=tmp_path, **home).stdout)["speed"] == before


def test_a_prediction_holds_within_its_interval():
    held = Held(metric="tpot_s", measured=0.012, low=0.009, expected=0.01, high=0.013)
    assert held.inside
    assert held.off == pytest.approx(0.2)
    assert not Held(metric="tpot_s", measured=0.014, low=0.009, expected=0.01, high=0.013).inside


def test_what_several_showed_counts_up_to_as_many():
    kept = Calibrated(step=1.2, first_token=1.1, count=1, model="x", engine="vllm", users=16, crowd_step=1.5)
    factors = [kept.step_of(users) for users in (1, 2, 4, 16, 100)]
    assert factors == sorted(factors)
    assert (factors[0], factors[2], factors[3], factors[4]) == pytest.approx((1, 1.5**0.5, 1.5, 1.5))
    assert Pace(None, 1.2, kept=kept).step_of(16) == pytest.approx(1.8)


@pytest.mark.slow
def test_a_plan_json_is_measured_and_its_rows_are_the_table_s(tmp_path):
    """Of llama.cpp: the rows take part in the fit as they are, and tell neither folders nor addresses; a second run adds its rows."""
    words = ("--gpu", "rtx4090", "--engine", "llama.cpp", "--model", "qwen3-8b", "--users", "2", "--context", "4k", "--output", str(tmp_path / "stack"))
    assert run_plan(*words, cwd=tmp_path).returncode == 0
    for turn in (1, 2):
        asked: list[tuple[str, str | None]] = []
        with serving(asked=asked) as url:
            done = run_plan(
                "bench",
                "stack",
                "--url",
                url,
                "--input",
                "200",
                "--answer",
                "32",
                "--export",
                "rows.csv",
                "--no-save-calibration",
                cwd=tmp_path,
                OPENAI_API_KEY="sk-secret",
            )
        assert done.returncode == 0, done.stderr
        assert "predictions hold" in done.stdout
        assert {key for _, key in asked} == {"Bearer sk-secret"}
        assert "sk-secret" not in done.stdout + done.stderr
        text = (tmp_path / "rows.csv").read_text()
        assert not any(word in text for word in ("sk-secret", str(tmp_path), "stack", "127.0.0.1", url))
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [row["concurrency"] for row in rows] == ["1", "2"] * turn
    assert tuple(rows[0]) == tuple(TABLE)
    assert [left_out(row) for row in rows] == [""] * 4
    assert {metric for row in rows for metric, _ in figures(row)} == {"tpot", "ttft", "throughput"}
    assert work_of(rows[0]).engine == "llamacpp"
    (tmp_path / "rows.csv").write_text("mine\n")
    with serving() as url:
        done = run_plan("bench", "stack", "--url", url, "--input", "200", "--answer", "16", "--export", "rows.csv", "--no-save-calibration", cwd=tmp_path)
    assert (done.returncode, (tmp_path / "rows.csv").read_text()) == (2, "mine\n")


def test_the_columns_are_those_of_the_collection():
    collection = ROOT.parent / "shared" / "truth" / "speed_cases.csv"
    if not collection.exists():
        pytest.skip("the collection of published speeds is not here")
    with collection.open() as file:
        assert tuple(file.readline().rstrip().split(",")) == tuple(TABLE)
    with (ROOT / "tests" / "data" / "speed_cases.csv").open() as file:
        assert set(file.readline().rstrip().split(",")) <= set(TABLE)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("404", "HTTP 404"),
        ("500", "HTTP 500"),
        ("nonsense", "something else than JSON"),
        ("deep", "something else than JSON"),
        ("silent", "no text that could be timed"),
        ("half", "broke an answer off after 8 pieces"),
        ("error", "broke an answer off: {'message': 'CUDA error'}"),
        ("endless", "the answer does not end"),
        ("no model", "serves no model"),
    ],
)
def test_faults_of_the_server(fault, says):
    with serving(fault) as url, pytest.raises(WorldError) as refused:
        bench(url, None, prompt=20, answer=16, points=(1, 2), wanted=["qwen3-8b"])
    assert says in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("url", "error"),
    [("http://127.0.0.1:1", WorldError), ("file:///etc/passwd", PlannerError), ("nonsense", PlannerError), ("http://user:secret@127.0.0.1:1", WorldError), ("http://[", PlannerError)],
)  # fmt: skip
def test_servers_that_are_not_there(url, error):
    with pytest.raises(error) as refused:
        bench(url, "a\nkey" if url == "http://[" else None, prompt=20, answer=16, points=(1,), wanted=["qwen3-8b"])
    assert "secret" not in refused.value.message


def test_a_fault_is_one_line_and_a_code(tmp_path):
    done = run_plan(*ASKED, "--url", "http://127.0.0.1:1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--concurrency", "2,x"), "'x' is not a whole number from 1 to 256"),
        (("--concurrency", "0"), "'0' is not a whole number"),
        (("nowhere.json", "--users", "3"), "--users and nowhere.json both say what is planned"),
        (("nowhere.json",), "nowhere.json: cannot be read"),
        (("--gpu", "h100", "--model", "qwen3-8b", "--context", "4k", "--input", "9000"), "exceed the context"),
    ],
)
def test_what_is_no_experiment_is_one_line(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["plan", "bench", *words])
    from planner.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (2, 3)
    assert says in capsys.readouterr().err


def first_timed(asking: Asking) -> Answered:
    """An answer of a random model of bytes: many of its texts are no text at all, and arrive as one piece."""
    for word in WORDS.split():
        with suppress(WorldError):
            return asking.ask(f"{word} stone", 24)
    pytest.fail("no prompt was answered with text")


@pytest.mark.judge
def test_mlx_s_own_server_is_measured(tmp_path):
    """A real server that streams: mlx-lm's, with a tiny model, on the CPU."""
    from conftest import free_ports
    from test_mlx import judge

    subprocess.run([judge("python"), ROOT / "tests" / "oracle" / "tiny_mlx_model.py", tmp_path / "tiny"], check=True, capture_output=True, timeout=120)
    (port,) = free_ports(1)
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
                found = first_timed(Asking(client, str(tmp_path / "tiny")))
            assert 0 < found.first_token_s < found.whole_s
            assert found.answer_tokens >= 2
        finally:
            server.terminate()
