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
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from conftest import ROOT, answer_alone, free_ports, run_plan
from vllm_stand_in import REFUSAL, serving

from planner.catalogue import load
from planner.emit.litellm import litellm_yaml
from planner.engines.vllm.choice import Request
from planner.engines.vllm.plan import make_plan
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup
from planner.facts.question import ServiceRow, StackRow
from planner.questions.plan import answer_for
from tests.judges import judge_venv

pytestmark = pytest.mark.judge
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

    def _stream(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for delta, reason in (({"role": "assistant", "content": "hel"}, None), ({"content": "lo"}, None), ({}, "stop")):
            chunk = {
                "id": "x",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": body["model"],
                "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
            }
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def do_GET(self):
        self._answer({"object": "list", "data": []})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        SEEN.append((self.path, body))
        if body.get("stream"):
            self._stream(body)
        elif self.path == "/api/chat":  # Ollama's own routes
            self._answer({"model": body["model"], "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": "hello"}, "done": True})
        elif self.path == "/api/embed":
            self._answer({"model": body["model"], "embeddings": [[0.5, 1.0]], "prompt_eval_count": 1})
        elif self.path.endswith("embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}]
            self._answer({"object": "list", "model": body["model"], "usage": {"prompt_tokens": 1, "total_tokens": 1}, "data": data})
        else:
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
            self._answer({"id": "x", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]})


def litellm(program: str):
    return judge_venv("litellm") / "bin" / program


def ask_text(url: str, body: dict | None = None, key: str = KEY) -> str:
    request = urllib.request.Request(
        url,
        data=json.dumps(body).encode() if body else None,
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read().decode()


def ask(url: str, body: dict | None = None, key: str = KEY) -> dict:
    return json.loads(ask_text(url, body, key))


@contextmanager
def proxy(folder, environment):
    """Start the proxy with the command that litellm.yaml itself gives, on a free port."""
    (line,) = re.findall(r"(?m)^#   (litellm .+)$", (folder / "litellm.yaml").read_text())
    command, port = shlex.split(line), free_ports(1)[0]
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


@pytest.fixture(scope="module")
def running_stack(backend_port, tmp_path_factory):
    """A Ministral and an embedding server behind one proxy; the alias of the former is one that says nothing of its family."""
    folder = tmp_path_factory.mktemp("stack")
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # bound but not listening: nobody answers there
        words = ("--with", f"qwen3-embedding-0.6b:port={backend_port}", "--with", f"qwen3-0.6b:port={dead.getsockname()[1]},context=4096")
        done = run_plan("--gpu", "a100-80", "--model", "ministral-3-14b-awq", "--output", str(folder), "--port", str(free_ports(1)[0]), *words, cwd=folder)
        assert done.returncode == 0, done.stderr
        config = yaml.safe_load((folder / "litellm.yaml").read_text())
        chat = config["model_list"][0]
        chat["litellm_params"]["api_base"] = f"http://127.0.0.1:{backend_port}/v1"
        chat["model_name"] = "agent"
        text = (folder / "litellm.yaml").read_text()
        header = "".join(line + "\n" for line in text.splitlines() if line.startswith("#"))
        (folder / "litellm.yaml").write_text(header + yaml.safe_dump(config, sort_keys=False))
        with proxy(folder, {"LITELLM_MASTER_KEY": KEY}) as (running, url):
            until_live(running, url, folder)
            yield url


USER, ASSISTANT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "so far"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
TOOL = {"role": "tool", "tool_call_id": "c1", "content": "seen"}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
CONTINUED = {"continue_final_message": True, "add_generation_prompt": False}


@pytest.mark.parametrize(
    ("messages", "continued"),
    [
        ([USER], False),
        ([USER, ASSISTANT], True),
        ([USER, ASSISTANT, USER], False),
        ([USER, ASSISTANT, ASSISTANT], True),
        ([USER, CALL], True),
        ([USER, CALL, TOOL], False),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_ministral_turn_is_continued_whatever_its_alias(running_stack, messages, continued, stream):
    SEEN.clear()
    body = {"model": "agent", "messages": messages, "tools": TOOLS, "stream": stream, "top_k": 5, "extra_body": {"min_p": 0.1}}
    if stream:
        assert "hel" in ask_text(f"{running_stack}/v1/chat/completions", body)
    else:
        assert ask(f"{running_stack}/v1/chat/completions", body)["choices"][0]["message"]["content"] == "hello"
    ((path, seen),) = SEEN
    assert path == "/v1/chat/completions"
    assert seen["model"] == "ministral-3-14b-awq"
    assert {key: seen.get(key) for key in CONTINUED} == (CONTINUED if continued else dict.fromkeys(CONTINUED))
    assert (seen["top_k"], seen["min_p"], seen["temperature"]) == (5, 0.1, 0.15)  # the caller's, and what Mistral recommends
    assert [tool["function"]["name"] for tool in seen["tools"]] == ["look"]
    known = {"model", "messages", "tools", "stream", "stream_options", "top_k", "min_p", "temperature", *CONTINUED}
    assert set(seen) <= known  # nothing that the backend would not know


def test_embeddings_and_the_list_of_models(running_stack):
    assert [model["id"] for model in ask(f"{running_stack}/v1/models")["data"]] == ["agent", "qwen3-0.6b", "qwen3-embedding-0.6b"]
    SEEN.clear()
    body = {"model": "qwen3-embedding-0.6b", "input": ["a"]}
    assert ask(f"{running_stack}/v1/embeddings", body)["data"][0]["embedding"] == [0.5, 1.0]
    assert [path for path, _ in SEEN] == ["/v1/embeddings"]
    assert not {"continue_final_message", "temperature"} & set(SEEN[0][1])


@pytest.mark.parametrize(
    ("body", "key", "codes"),
    [
        ({"model": "nobody", "messages": [USER]}, KEY, (400, 404)),  # an unknown model
        ({"model": "qwen3-0.6b", "messages": [USER]}, KEY, (500, 502, 503)),  # its server is down
        ({"model": "agent", "messages": [USER]}, "sk-wrong", (400, 401, 403)),
    ],
)
def test_what_goes_wrong_is_an_error_and_reaches_no_server(running_stack, body, key, codes):
    SEEN.clear()
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(f"{running_stack}/v1/chat/completions", body, key=key)
    assert caught.value.code in codes
    caught.value.close()
    assert SEEN == []


def test_a_starting_proxy_and_its_health_page_load_no_model(backend_port, tmp_path):
    emitted("qwen3-embedding-0.6b", backend_port, tmp_path)
    SEEN.clear()
    with proxy(tmp_path, {"LITELLM_MASTER_KEY": KEY}) as (running, url):
        until_live(running, url, tmp_path)
        assert SEEN == []  # at start it only lists models
        ask(f"{url}/health/readiness")
        assert SEEN == []


def through(engine: str, backend_port: int, tmp_path) -> list[tuple[str, dict]]:
    """What a server of another runtime is asked when an agent asks the proxy for a chat and an embedding."""
    words = ("--engine", engine, "--model", "qwen3-vl-30b-a3b", "--context", "8k", "--with", "qwen3-embedding-0.6b", "--port", str(free_ports(1)[0]))
    done = run_plan("--gpu", "rtx4090", *words, "--output", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "litellm.yaml").read_text()
    (tmp_path / "litellm.yaml").write_text(re.sub(r"api_base: http://127.0.0.1:\d+", f"api_base: http://127.0.0.1:{backend_port}", text))
    with proxy(tmp_path, {"LITELLM_MASTER_KEY": KEY}) as (running, url):
        until_live(running, url, tmp_path)
        SEEN.clear()
        answer = ask(f"{url}/v1/chat/completions", {"model": "qwen3-vl-30b-a3b", "messages": [USER]})
        assert answer["choices"][0]["message"]["content"] == "hello"
        assert ask(f"{url}/v1/embeddings", {"model": "qwen3-embedding-0.6b", "input": ["a"]})["data"][0]["embedding"] == [0.5, 1.0]
    return list(SEEN)


def test_ollama_is_asked_by_its_own_routes(backend_port, tmp_path):
    (path, chat), (embed_path, embed) = through("ollama", backend_port, tmp_path)
    assert (path, embed_path) == ("/api/chat", "/api/embed")
    assert (chat["model"], embed["model"]) == ("qwen3-vl-30b-a3b-planned", "qwen3-embedding-0.6b-planned")  # the models with the planned context
    assert {name: chat["options"][name] for name in ("temperature", "top_p", "top_k")} == {"temperature": 0.7, "top_p": 0.8, "top_k": 20}
    assert chat["options"]["num_predict"] == 2048


def test_llama_server_gets_every_recommended_parameter(backend_port, tmp_path):
    (path, chat), (embed_path, embed) = through("llama.cpp", backend_port, tmp_path)
    assert (path, embed_path) == ("/v1/chat/completions", "/v1/embeddings")
    assert (chat["model"], embed["model"]) == ("qwen3-vl-30b-a3b", "qwen3-embedding-0.6b")
    assert (chat["temperature"], chat["top_p"], chat["top_k"], chat["presence_penalty"], chat["max_tokens"]) == (0.7, 0.8, 20, 1.5, 2048)


@contextmanager
def agent_stack(folder, manner: str = "good", *, without: tuple[str, ...] = (), model: str = "qwen3-8b"):
    """The emitted proxy before a server that has what its emitted command says, less some words of it; its address and the server."""
    done = run_plan("--gpu", "a100-80", "--model", model, "--context", "8k", "--output", str(folder), "--format", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    argv = [word for word in json.loads(done.stdout)["commands"][0]["argv"] if word not in without]
    with serving([argv], manner) as server:
        text = (folder / "litellm.yaml").read_text()
        (folder / "litellm.yaml").write_text(re.sub(r"api_base: http://127.0.0.1:\d+", f"api_base: {server.url}", text))
        with proxy(folder, {"LITELLM_MASTER_KEY": KEY}) as (running, url):
            until_live(running, url, folder)
            yield url, server


def try_it(folder, url: str) -> tuple[int, str]:
    """try.sh of the folder against the running proxy."""
    text, changed = re.subn(r"(?m)^proxy=http://127.0.0.1:\d+$", f"proxy={url}", (folder / "try.sh").read_text())
    assert changed == 1
    (folder / "try.sh").write_text(text)
    environment = {"PATH": os.environ["PATH"], "LITELLM_MASTER_KEY": KEY, "PLAN_TRY_TIMEOUT": "60"}
    done = subprocess.run(["bash", "try.sh"], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


WEATHER = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]


@pytest.mark.parametrize("model", ["qwen3-8b", "ministral-3-14b-awq"])
def test_an_agent_calls_a_tool_through_the_emitted_configuration(model, tmp_path):
    body = {"model": model, "messages": [USER], "tools": WEATHER, "tool_choice": "auto"}
    with agent_stack(tmp_path, model=model) as (url, _):
        (call,) = ask(f"{url}/v1/chat/completions", body)["choices"][0]["message"]["tool_calls"]
        assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("get_weather", {"city": "Paris"})
        lines = ask_text(f"{url}/v1/chat/completions", body | {"stream": True}).splitlines()
        chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        parts = [part for chunk in chunks for choice in chunk["choices"] for part in choice["delta"].get("tool_calls") or ()]
        assert "".join(part["function"].get("arguments") or "" for part in parts) == call["function"]["arguments"]
        (info,) = (entry["model_info"] for entry in ask(f"{url}/model/info")["data"])
        wanted = {"mode": "chat", "supports_function_calling": True, "supports_tool_choice": True, "supports_response_schema": True, "max_input_tokens": 8192}
        wanted |= {"supports_vision": model != "qwen3-8b", "supports_reasoning": model == "qwen3-8b"}
        wanted["max_output_tokens"] = 4096 if model == "qwen3-8b" else 2048
        assert {key: info[key] for key in wanted} == wanted
        code, said = try_it(tmp_path, url)
        assert code == 0, said
        assert said.count(": ok: ") == 3


def test_without_the_flags_the_proxy_hands_on_vllms_refusal_and_try_sh_names_them(tmp_path):
    with agent_stack(tmp_path, without=("--enable-auto-tool-choice", "--tool-call-parser", "hermes")) as (url, server):
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(f"{url}/v1/chat/completions", {"model": "qwen3-8b", "messages": [USER], "tools": WEATHER, "tool_choice": "auto"})
        with caught.value as refusal:
            assert (refusal.code, REFUSAL.split('"')[-1] in refusal.read().decode()) == (400, True)
        code, said = try_it(tmp_path, url)
        assert (code, said.count("FAILED: HTTP 400")) == (1, 2), said
        assert "--enable-auto-tool-choice --tool-call-parser hermes" in said
        server.shutdown()
        server.server_close()
        code, said = try_it(tmp_path, url)
        assert (code, said.count("is down or still loading")) == (1, 3), said


@pytest.mark.parametrize(("manner", "words"), [("text", "called no tool"), ("markup", "does not read"), ("no_json", "no JSON")])
def test_a_model_of_no_use_to_an_agent_is_told_through_the_proxy(manner, words, tmp_path):
    with agent_stack(tmp_path, manner) as (url, _):
        code, said = try_it(tmp_path, url)
    assert (code, said.count(words)) == (1, 2), said


def test_without_a_key_the_proxy_refuses_to_start(backend_port, tmp_path):
    emitted("qwen3-8b", backend_port, tmp_path)
    with proxy(tmp_path, {}) as (running, _):
        assert running.wait(120) != 0
    assert "master key" in (tmp_path / "proxy.log").read_text()


class Faulty(Backend):
    """A server that is slow, fails or does not know its model where the words of the prompt say so."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = body["messages"][-1]["content"]
        SEEN.append((self.path, body))
        if words == "slow":
            time.sleep(4)
        if words.isdecimal():
            self.send_error(int(words))
        elif words == "stream":
            self._stream(body)
        else:
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
            self._answer({"id": "x", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]})


def test_a_fault_of_the_only_server_is_told_once_and_keeps_nobody_from_it(tmp_path):
    """With two retries and cooldowns, LiteLLM's defaults, a slow prompt was sent three times and the next user got 429."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Faulty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        emitted("qwen3-8b", server.server_port, tmp_path)
        text, shortened = re.subn(r"timeout: \d+", "timeout: 2", (tmp_path / "litellm.yaml").read_text())
        assert shortened == 1
        (tmp_path / "litellm.yaml").write_text(text)
        with proxy(tmp_path, {"LITELLM_MASTER_KEY": KEY}) as (running, url):
            until_live(running, url, tmp_path)
            for words, codes in (("slow", (408,)), ("500", (500,)), ("404", (404,)), ("503", (503,)), ("400", (400,)), ("429", (429,))):
                SEEN.clear()
                body = {"model": "qwen3-8b", "messages": [{"role": "user", "content": words}]}
                with pytest.raises(urllib.error.HTTPError) as caught:
                    ask(f"{url}/v1/chat/completions", body)
                with caught.value as fault:
                    assert (words, fault.code, len(SEEN)) == (words, fault.code if fault.code in codes else codes, 1)
                assert ask(f"{url}/v1/chat/completions", body | {"messages": [USER]})["choices"][0]["message"]["content"] == "hello", words
            for model in ("nobody", "qwen3-8b"):
                with suppress(urllib.error.HTTPError):
                    ask(f"{url}/v1/chat/completions", {"model": model, "messages": [USER]})
            assert "hel" in ask_text(f"{url}/v1/chat/completions", body | {"messages": [{"role": "user", "content": "stream"}], "stream": True})
        server.shutdown()


def test_every_litellm_file_loads():
    texts = {str(path): path.read_text() for path in ROOT.glob("outputs/*/litellm.yaml")}
    group = GpuGroup(gpu=load.find_gpu("b300"), count=8)
    for row in load.model_rows():
        for variant in (variant for variant in row.variants if variant.is_listed):
            try:
                plan = make_plan(Request(model=row.spec(variant), group=group), repo=variant.repo, served_name=load.Entry(row, variant).name)
            except PlannerError:
                continue
            entry = load.Entry(row, variant)
            texts[entry.name] = litellm_yaml(answer_alone(plan, entry.sampling).deployment)
    for machine, engine in (("rtx4090", "ollama"), ("rtx4090", "llama.cpp"), ("m4-max-128gb", "mlx")):
        services = [ServiceRow(model="qwen3-vl-30b-a3b", context=8192), ServiceRow(model="qwen3-embedding-0.6b")]
        texts[engine] = litellm_yaml(answer_for(StackRow(gpu=machine, engine=engine, services=services)).deployment)
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
