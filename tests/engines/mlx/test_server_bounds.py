"""The bounds of the emitted commands, tried with the stock servers on MLX's CPU build: requests at a time, the longest conversation, prefix reuse."""

import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from itertools import pairwise

import pytest
from conftest import free_ports
from test_mlx import judge, tiny  # noqa: F401 - a fixture
from test_proxy import until_answers

from planner.facts.question import ServiceRow, StackRow
from planner.questions.plan import answer_for

PROMPT = "many words of a prompt " * 20


@contextmanager
def serving(argv, model, env=None):
    """A server as it is emitted, with the tiny model in the real one's place."""
    (port,) = free_ports(1)
    words = [str(judge(argv[0])), *argv[1:]]
    words[words.index("--model") + 1], words[words.index("--port") + 1] = str(model), str(port)
    environment = {"PATH": os.environ["PATH"], "HOME": str(model.parent), "HF_HUB_OFFLINE": "1", **(env or {})}
    server = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_answers(server, f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/v1/chat/completions", str(model)
    finally:
        server.terminate()
        server.wait(30)


def send(url, model, text, *, max_tokens=64, stream=False):
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": max_tokens, "temperature": 0, "stream": stream}
    return urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"}), timeout=60)


def at_once(url, model, requests=3):
    """How many of some requests are answered side by side: those the middle halves of whose tokens enclose each other's."""
    spans = []

    def ask(index):
        with send(url, model, f"{index} {PROMPT}", stream=True) as answer:
            seen = [time.monotonic() for line in answer if line.startswith(b"data:")]
        spans.append((seen[len(seen) // 4], seen[3 * len(seen) // 4]))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(spans) == requests
    moments = sorted({moment for span in spans for moment in span})
    between = [(early + late) / 2 for early, late in pairwise(moments)]
    return max(sum(start < moment < end for start, end in spans) for moment in between)


def emitted(model, **wish):
    return answer_for(StackRow(gpu="m4-max-128gb", engine="mlx", services=[ServiceRow(model=model, port=8000, **wish)])).plans[0].service


@pytest.mark.judge
def test_mlx_lm_answers_as_many_at_a_time_as_planned(tiny):  # noqa: F811
    argv = emitted("qwen3-8b", users=1).argv
    with serving(argv, tiny / "tiny") as server:
        send(*server, "warm").close()
        assert at_once(*server) == 1


@pytest.mark.judge
def test_mlx_lm_takes_the_larger_of_both_bounds():
    """One of them alone bounds nothing: why both are emitted."""
    code = "from mlx_lm.generate import BatchGenerator as B; print(*(B(None, completion_batch_size=1, prefill_batch_size=n).completion_batch_size for n in (8, 1)))"
    done = subprocess.run([judge("python"), "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["8", "1"]


@pytest.mark.judge
def test_mlx_vlm_keeps_its_bounds_and_reuses_prefixes(tiny):  # noqa: F811
    service = emitted("qwen3-vl-32b", users=1, context=1024)
    assert service.env["APC_ENABLED"] == "1"
    with serving(service.argv, tiny / "tiny", service.env) as server:
        with send(*server, PROMPT) as first, send(*server, PROMPT) as again:
            cached = [json.load(answer)["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in (first, again)]
        assert cached[0] == 0 < cached[1]
        assert at_once(*server) == 1
        with pytest.raises(urllib.error.HTTPError) as refused:
            send(*server, "x" * 1200)
        assert refused.value.code == 400
        refused.value.close()
