"""The real LiteLLM proxy judges: every litellm.yaml loads, and one endpoint reaches the server as an agent needs it."""

import json
import os
import re
import shlex
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import ROOT, judge_venv, run_plan

from planner import catalog
from planner.choice import Request
from planner.deployment import deployment
from planner.emit.litellm import litellm_yaml
from planner.errors import PlannerError
from planner.hardware import GpuGroup
from planner.placement import alone
from planner.plan import make_plan

pytestmark = pytest.mark.slow
KEY = "sk-only-for-this-test"
SEEN: list[tuple[str, dict]] = []


class Backend(BaseHTTPRequestHandler):
    """Answers as vLLM would and remembers what it was asked."""

    def log_message(self, *arguments):
        pass

    def _answer(self, body):
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self._answer({"object": "list", "data": []})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        SEEN.append((self.path, body))
        if self.path.endswith("embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}]
            self._answer({"object": "list", "model": body["model"], "usage": {"prompt_tokens": 1, "total_tokens": 1}, "data": data})
        else:
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
            self._answer({"id": "x", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]})


def litellm(program: str):
    return judge_venv("litellm-1.106.2", "PLAN_PROXY_VENV", "setup-litellm.sh") / "bin" / program


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(url: str, body: dict | None = None) -> dict:
    request = urllib.request.Request(
        url,
        data=json.dumps(body).encode() if body else None,
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read())


@contextmanager
def proxy(folder, environment):
    """Start the proxy with the command that litellm.yaml itself gives, on a free port."""
    (line,) = re.findall(r"(?m)^#   (litellm .+)$", (folder / "litellm.yaml").read_text())
    command, port = shlex.split(line), free_port()
    assert command[command.index("--host") + 1] == "127.0.0.1"
    command[0], command[command.index("--port") + 1] = str(litellm("litellm")), str(port)
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*", "PATH": os.environ["PATH"], "HOME": str(folder)}
    with (folder / "proxy.log").open("w") as log:
        running = subprocess.Popen(command, cwd=folder, env=offline | environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield running, f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(30)


def until_answers(running, url, log=lambda: ""):
    """Wait for a server's health; its log where it ends instead."""
    for _ in range(300):
        assert running.poll() is None, log()
        try:
            return ask(url)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.4)
    raise AssertionError(log())


def until_live(running, url, folder):
    return until_answers(running, f"{url}/health/liveliness", lambda: (folder / "proxy.log").read_text()[-3000:])


@pytest.fixture(scope="module")
def backend_port():
    with ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def emitted(model: str, port: int, folder):
    done = run_plan("--gpu", "rtx4090", "--count", "2", "--model", model, "--port", str(port), "--output", str(folder), cwd=folder)
    assert done.returncode == 0, done.stderr


def test_ministral_turns_are_continued_and_nobody_elses(backend_port, tmp_path):
    emitted("ministral-3-14b-awq", backend_port, tmp_path)
    user, assistant = {"role": "user", "content": "q"}, {"role": "assistant", "content": "so far"}
    with proxy(tmp_path, {"LITELLM_MASTER_KEY": KEY}) as (running, url):
        until_live(running, url, tmp_path)
        SEEN.clear()
        for messages in ([user, assistant], [user], [user, assistant, user]):
            answer = ask(f"{url}/v1/chat/completions", {"model": "ministral-3-14b-awq", "messages": messages, "top_k": 5})
            assert answer["choices"][0]["message"]["content"] == "hello"
        continued, first, fresh = (body for _, body in SEEN)
    assert {path for path, _ in SEEN} == {"/v1/chat/completions"}
    assert (continued["continue_final_message"], continued["add_generation_prompt"], continued["top_k"]) == (True, False, 5)
    for body in (first, fresh):
        assert not {"continue_final_message", "add_generation_prompt"} & set(body)


def test_embeddings_go_through_the_same_endpoint(backend_port, tmp_path):
    emitted("qwen3-embedding-0.6b", backend_port, tmp_path)
    with proxy(tmp_path, {"LITELLM_MASTER_KEY": KEY}) as (running, url):
        until_live(running, url, tmp_path)
        assert [model["id"] for model in ask(f"{url}/v1/models")["data"]] == ["qwen3-embedding-0.6b"]
        SEEN.clear()
        assert ask(f"{url}/v1/embeddings", {"model": "qwen3-embedding-0.6b", "input": ["a"]})["data"][0]["embedding"] == [0.5, 1.0]
        assert ask(f"{url}/health")["healthy_count"] == 1
    assert {path for path, _ in SEEN} == {"/v1/embeddings"}


def test_without_a_key_the_proxy_refuses_to_start(backend_port, tmp_path):
    emitted("qwen3-8b", backend_port, tmp_path)
    with proxy(tmp_path, {}) as (running, _):
        assert running.wait(120) != 0
    assert "master key" in (tmp_path / "proxy.log").read_text()


def test_every_litellm_file_loads():
    texts = {str(path): path.read_text() for path in ROOT.glob("outputs/*/litellm.yaml")}
    group = GpuGroup(gpu=catalog.find_gpu("b300"), count=8)
    for row in catalog.model_rows():
        for variant in (variant for variant in row.variants if variant.runtime == "vllm"):
            try:
                plan = make_plan(Request(model=row.spec(variant), group=group), repo=variant.repo, served_name=catalog.Entry(row, variant).name)
            except PlannerError:
                continue
            texts[catalog.Entry(row, variant).name] = litellm_yaml(deployment(alone(plan)))
    assert len(texts) >= 80
    done = subprocess.run(
        [litellm("python"), ROOT / "tests" / "oracle" / "load_proxy_configs.py"],
        input="".join(json.dumps(text) + "\n" for text in texts.values()),
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": os.environ["PATH"]},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(texts), done.stderr[-3000:]
    assert {name: found for name, found in zip(texts, answers, strict=True) if found} == {}
