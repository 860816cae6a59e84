"""bench.sh really runs against a server that answers as the proxy does: load, prompts that fill the context, problems side by side with a log each."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from planner.emit import emit
from planner.facts.question import ServiceRow, StackRow
from planner.questions.plan import answer_for

ENGINES = [("a100-80gb", None), ("rtx3090", "llama.cpp"), ("rtx3090", "ollama"), ("m4-max-128gb", None)]


@cache
def script(gpu: str, engine: str | None, model: str = "qwen3-8b") -> str:
    services = [ServiceRow(model=model, context=8192 if model == "qwen3-8b" else 512, users=2)]
    return emit(answer_for(StackRow(gpu=gpu, engine=engine, services=services)).deployment)["bench.sh"]


class Answers(BaseHTTPRequestHandler):
    """Streams two tokens, or fails where the prompt says so; remembers what it was asked."""

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append(body)
        if "fail" in json.dumps(body.get("messages", "")):
            return self.send_error(503)
        self.send_response(200)
        self.end_headers()
        if self.path.endswith("embeddings"):
            return self.wfile.write(json.dumps({"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 3}}).encode())
        for delta in ({"reasoning_content": "hm "}, {"content": "42"}):
            self.wfile.write(f"data: {json.dumps({'choices': [{'delta': delta}]})}\n\n".encode())
        self.wfile.write(f"data: {json.dumps({'choices': [], 'usage': {'prompt_tokens': 9, 'completion_tokens': 2}})}\n\ndata: [DONE]\n\n".encode())
        return None


def run(text: str, folder: Path, *words: str) -> tuple[subprocess.CompletedProcess, list[dict]]:
    (folder / "bench.sh").write_text(text)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.seen = []
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        environment = {"PATH": os.environ["PATH"], "LITELLM_MASTER_KEY": "sk-test", "PLAN_BENCH_URL": f"http://127.0.0.1:{server.server_port}"}
        done = subprocess.run(["bash", "bench.sh", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
        server.shutdown()
        return done, server.seen


@pytest.mark.parametrize(("gpu", "engine"), ENGINES)
def test_load_needs_nothing_that_setup_does_not_install(gpu, engine, tmp_path):
    done, seen = run(script(gpu, engine), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "8 of 8 requests, 2 at a time" in done.stdout or "4 of 4 requests, 1 at a time" in done.stdout
    assert "tokens a second, all" in done.stdout
    assert len({body["messages"][0]["content"] for body in seen}) == len(seen)  # no cache answers
    longest, limit = max(len(body["messages"][0]["content"].split()) for body in seen), seen[0]["max_tokens"]
    assert longest + limit < 8192


def test_full_prompts_fit_the_context(tmp_path):
    done, seen = run(script("rtx3090", "llama.cpp"), tmp_path, "full")
    assert done.returncode == 0, done.stderr
    assert all(4000 < len(body["messages"][0]["content"].split()) + body["max_tokens"] < 8192 for body in seen)


def test_texts_are_embedded(tmp_path):
    done, seen = run(script("rtx3090", "llama.cpp", "qwen3-embedding-0.6b"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(body["input"] for body in seen)


def test_problems_run_side_by_side_with_a_log_each(tmp_path):
    done, seen = run(script("a100-80gb", None), tmp_path, "problems")
    assert (done.returncode, len(seen)) == (0, 5), done.stderr
    (folder,) = (tmp_path / "experiments").iterdir()
    assert folder.name.startswith("parallel_benchmark_qwen3-8b_")
    logs = sorted(path.name for path in folder.iterdir())
    assert logs == ["arithmetic.log", "biology.log", "code.log", "logic.log", "plan.log"]
    assert all("hm 42" in (folder / name).read_text() for name in logs)


def test_problems_of_ones_own_and_a_failure_is_told(tmp_path):
    (tmp_path / "good.txt").write_text("what is there?")
    (tmp_path / "bad.txt").write_text("please fail")
    done, seen = run(script("a100-80gb", None), tmp_path, "problems", "good.txt", "bad.txt")
    assert (done.returncode, len(seen)) == (1, 2)
    assert "bad: failed: HTTP Error 503" in done.stdout
    assert "good: 2 tokens" in done.stdout


@pytest.mark.parametrize(("gpu", "engine"), ENGINES)
def test_the_script_is_strict_and_names_only_what_is_there(gpu, engine, tmp_path):
    (tmp_path / "bench.sh").write_text(script(gpu, engine))
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "--enable=all", "--severity=style", tmp_path / "bench.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert ("vllm bench serve" in script(gpu, engine)) == (gpu == "a100-80gb")
    assert "guidellm" not in script(gpu, engine)


def test_a_name_that_looks_like_a_gap_is_a_name():
    deployment = answer_for(StackRow(gpu="a100-80gb", services=[ServiceRow(model="qwen3-8b", context=8192)])).deployment
    text = emit(replace(deployment, services=(replace(deployment.main, alias="@own@"),)))["bench.sh"]
    assert "\nmodel=@own@\n" in text
