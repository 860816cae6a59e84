"""try.sh does what an agent does: a word, a tool call, a streamed one; and says in plain words what failed."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from vllm_stand_in import CALL, serving

from planner.emit import emit
from planner.facts.deployment import Deployment
from planner.facts.question import ServiceRow, StackRow
from planner.questions.plan import answer_for

KEY = "sk-only-for-this-test"
LINES = ["text", "tools", "stream", "embedding"]


@cache
def planned(model: str = "qwen3-8b", **keys) -> Deployment:
    services = [ServiceRow(model=model, context=8192), *([] if keys else [ServiceRow(model="qwen3-embedding-0.6b")])]
    return answer_for(StackRow(gpu=keys.pop("gpu", "a100-80gb"), services=services, **keys)).deployment


def run(deployment: Deployment, port: int, folder, key: str = KEY) -> tuple[int, dict[str, str], str]:
    """try.sh against whatever listens on the proxy's port: exit code, what it says of each request, all of it."""
    script = folder / "try.sh"
    script.write_text(emit(replace(deployment, proxy_port=port))["try.sh"])
    environment = {"PATH": os.environ["PATH"], "LITELLM_MASTER_KEY": key}
    done = subprocess.run(["bash", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, {name.split(", ")[1]: words for name, words in said.items()}, done.stdout + done.stderr


def commands(deployment: Deployment) -> list[tuple[str, ...]]:
    return [service.argv for service in deployment.services]


def test_a_stack_that_works_passes(tmp_path):
    deployment = planned()
    with serving(commands(deployment), key=KEY) as server:
        code, said, everything = run(deployment, server.server_port, tmp_path)
        assert (code, list(said)) == (0, LINES), everything
        assert all(words.startswith("ok: ") for words in said.values())
        assert "reasoned" in said["text"]  # Qwen 3 does, and its command names the parser
        assert "Paris" in said["tools"]
        assert said["stream"].endswith("streamed")
        assert [body.get("stream", False) for body in server.seen] == [False, False, True, False]
        assert all(body.get("tool_choice", "auto") == "auto" for body in server.seen)
    assert KEY not in everything


@pytest.mark.parametrize(
    ("manner", "failing", "words"),
    [
        ("text", ["tools", "stream"], "answered in text"),
        ("markup", ["tools", "stream"], "the tool parser hermes does not read"),
        ("no_json", ["tools", "stream"], "no JSON"),
        ("other_tool", ["tools", "stream"], "get_time"),
        ("length", ["tools", "stream"], "max_tokens"),
        ("cut", ["stream"], "broke off"),
        ("busy", LINES, "HTTP 503: the engine is starting"),
        ("odd", LINES, "no answer of the OpenAI API"),
        ("empty", ["text", "tools", "stream"], "empty answer"),
    ],
)
@pytest.mark.slow
def test_what_is_of_no_use_to_an_agent_is_said(manner, failing, words, tmp_path):
    deployment = planned()
    with serving(commands(deployment), manner) as server:
        code, said, everything = run(deployment, server.server_port, tmp_path)
    failed = [name for name, line in said.items() if line.startswith("FAILED: ")]
    assert (code, failed) == (1, failing), everything
    assert words in said[failing[0]]
    assert f"{len(failing)} of 4 failed" in everything


def test_a_server_without_the_flags_is_told_from_one_that_has_them(tmp_path):
    """As every command was before: vLLM answers HTTP 400, and try.sh names the flags."""
    deployment = planned()
    bare = [[word for word in argv if word not in ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")] for argv in commands(deployment)]
    with serving(bare) as server:
        code, said, _ = run(deployment, server.server_port, tmp_path)
    assert code == 1
    for what in ("tools", "stream"):
        assert said[what].startswith("FAILED: HTTP 400")
        assert "--enable-auto-tool-choice --tool-call-parser hermes" in said[what]
    assert said["text"].startswith("ok: ")


def test_a_proxy_that_is_not_there_or_wants_another_key(tmp_path):
    deployment = planned()
    with serving(commands(deployment), key="sk-another") as server:
        port = server.server_port
        code, said, everything = run(deployment, port, tmp_path)
        assert (code, "LITELLM_MASTER_KEY is not the key" in said["tools"]) == (1, True)
    code, said, everything = run(deployment, port, tmp_path)
    assert (code, "./stack.sh start" in said["text"]) == (1, True), everything


def test_without_a_key_nothing_is_asked(tmp_path):
    script = tmp_path / "try.sh"
    script.write_text(emit(planned())["try.sh"])
    done = subprocess.run(["bash", script], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "LITELLM_MASTER_KEY" in done.stderr


def test_a_model_that_calls_no_tools_is_not_asked_to():
    assert " tools " not in emit(planned("gemma-3-4b", gpu="h100"))["try.sh"].partition("\nPYTHON\n")[2]


@pytest.mark.parametrize("engine", ["llama.cpp", "ollama"])
def test_other_engines_are_asked_too(engine):
    text = emit(planned("qwen3-8b", gpu="rtx4090", engine=engine))["try.sh"]
    assert [line.split()[2] for line in text.splitlines() if line.startswith("ask ")] == ["text", "tools", "stream"]


def test_a_mac_is_asked_what_its_server_reads():
    texts = {model: emit(planned(model, gpu="m4-max-128gb", engine="mlx"))["try.sh"] for model in ("qwen3-8b", "llama-3.1-8b")}
    assert "\nask qwen3-8b stream" in texts["qwen3-8b"]
    assert "\nask llama-3.1-8b stream" not in texts["llama-3.1-8b"]  # mlx-lm infers no parser from its chat template


@pytest.mark.parametrize("model", ["qwen3-8b", "gpt-oss-20b", "ministral-3-14b-awq", "gemma-3-4b"])
def test_the_script_passes_shellcheck_at_its_strictest(model, tmp_path):
    script = tmp_path / "try.sh"
    script.write_text(emit(planned(model, gpu="h100"))["try.sh"])
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "--enable=all", "--severity=style", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


SPEC = importlib.util.spec_from_file_location("read_answer", ROOT / "planner" / "emit" / "templates" / "read_answer.py")
read_answer = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(read_answer)


@given(st.lists(st.integers(0, 5), max_size=8), st.text(max_size=20), st.booleans())
def test_a_streamed_call_is_the_call_however_it_is_cut(cuts, before, usage_last):
    """Any division of the arguments over events gives the whole call back."""
    text, pieces = CALL["arguments"], []
    for cut in cuts:
        pieces, text = [*pieces, text[:cut]], text[cut:]
    deltas = [{"content": before or None}, {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "get_weather"}}]}]
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in [*pieces, text]]
    events = [{"choices": [{"delta": delta}]} for delta in deltas] + [{"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}]
    events += [{"choices": [], "usage": {}}] if usage_last else []
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    message, reason = read_answer.assembled(stream, "chat", "hermes")
    assert (message["tool_calls"], reason) == ([{"function": CALL}], "tool_calls")


@given(
    st.text(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["choices", "message", "error", "data", "delta"]), inner, max_size=3),
        max_leaves=6,
    ).map(json.dumps),
    st.sampled_from(LINES),
    st.sampled_from(["200", "400", "500", "000"]),
)
def test_no_answer_is_too_odd_to_be_judged(tmp_path_factory, text, what, status):
    folder = tmp_path_factory.getbasetemp()
    (folder / "answer").write_text(text if what != "stream" else f"data: {text}\n\n")
    (folder / "complaint").write_text("")
    try:
        read_answer.verdict([what, status, str(folder / "answer"), str(folder / "complaint"), "chat", "hermes"])
    except read_answer.BadAnswerError as error:
        assert "\n" not in str(error)


def test_the_catalogue_says_which_models_reason():
    assert planned("gpt-oss-20b", gpu="h100").main.reasons
    assert not planned("gemma-3-4b", gpu="h100").main.reasons


@pytest.mark.parametrize(
    ("model", "keys", "able"),
    [
        (
            "qwen3-8b",
            {"gpu": "h100"},
            {"supports_function_calling": True, "supports_reasoning": True, "supports_vision": False, "supports_response_schema": True},
        ),
        ("gemma-3-4b", {"gpu": "h100"}, {"supports_function_calling": False, "supports_reasoning": False, "supports_vision": True}),
        ("gemma-4-12b", {"gpu": "h100", "vllm_version": "0.18"}, {"supports_function_calling": False, "supports_reasoning": False}),  # no parser yet
        ("qwen3-8b", {"gpu": "rtx4090", "engine": "llama.cpp"}, {"supports_function_calling": True, "supports_response_schema": True}),
        ("llama-3.1-8b", {"gpu": "m4-max-128gb", "engine": "mlx"}, {"supports_function_calling": False, "supports_response_schema": None}),
    ],
)
def test_the_proxy_says_what_a_model_can_do(model, keys, able):
    (entry,) = yaml.safe_load(emit(planned(model, **keys))["litellm.yaml"])["model_list"]
    info = entry["model_info"]
    assert {key: info.get(key) for key in able} == able
    assert info["max_input_tokens"] == 8192
    assert info["max_output_tokens"] <= (4096 if info["supports_reasoning"] else 2048)
    assert info["mode"] == "chat"


def test_the_proxy_says_no_such_thing_of_an_embedding_model():
    *_, entry = yaml.safe_load(emit(planned())["litellm.yaml"])["model_list"]
    assert entry["model_info"]["mode"] == "embedding"
    assert not [key for key in entry["model_info"] if key.startswith("supports_")]
