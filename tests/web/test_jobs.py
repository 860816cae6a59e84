"""Each job of the page without a browser: its numbers are those of the JSON contract, its faults are words with a link, its bounds hold."""

import html
import json
import re
from urllib.parse import urlencode, urljoin

import pytest
from starlette.testclient import TestClient

import planner
from planner.errors import PlannerError
from planner.web import app as pages
from planner.web.answers import answer
from planner.web.guard import MOST_BODY_BYTES
from planner.web.jobs import EXAMPLES, JOBS
from planner.web.links import state_after
from planner.web.state import MOST_LINK_BYTES, made, read_state
from tests.conftest import DATA

COMMAND = "vllm serve Qwen/Qwen3-VL-32B-Instruct --max-model-len 131072"
LOG = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
FAILED = f"INFO [api_server.py:1] vLLM API server version 0.19.0\n{LOG}\n"
ORIGIN = {"Origin": "http://127.0.0.1:8321"}
CASES = {
    "stack": (
        {"gpu": "rtx4090", "count": "2", "model": "qwen3-vl-32b-awq", "beside": "qwen3-embedding-0.6b:context=2k"},
        lambda: planner.plan(gpu="rtx4090", count=2, model="qwen3-vl-32b-awq", beside=["qwen3-embedding-0.6b:context=2k"]),
    ),
    "plan": (
        {"gpu": "custom", "vram": "16GiB", "bandwidth": "672", "compute_capability": "8.9", "model": "qwen3-8b-awq", "kv_cache_dtype": "fp8_e4m3"},
        lambda: planner.plan(gpu="custom", vram="16GiB", bandwidth=672, compute_capability="8.9", model="qwen3-8b-awq", kv_cache_dtype="fp8_e4m3"),
    ),
    "models": (
        {"gpu": "rtx3060", "purpose": "embedding", "users": "2"},
        lambda: planner.choose(gpu="rtx3060", purpose="embedding", users=2),
    ),
    "capacity": (
        {"gpu": "rtx4090", "count": "1", "model": "qwen3-8b-awq", "input": "1000", "output_tokens": "100", "ttft": "500ms", "users": "4"},
        lambda: planner.capacity(gpu="rtx4090", count=1, model="qwen3-8b-awq", input=1000, output_tokens=100, ttft="500ms", users=4),
    ),
    "cost": (
        {"gpu": "h100", "count": "1", "model": "qwen3-32b-fp8", "rent_usd_per_hour": "2.5", "buy_usd": "30000", "utilization": "0.5", "documents": "1000"},
        lambda: planner.cost(gpu="h100", count=1, model="qwen3-32b-fp8", rent_usd_per_hour=2.5, buy_usd=30000, utilization=0.5, documents=1000),
    ),
    "check": ({"command": COMMAND, "gpu": "a100-80"}, lambda: planner.check(COMMAND, gpu="a100-80")),
    "explain": ({"log": FAILED, "gpu": "rtx4090", "model": "qwen3-8b"}, lambda: planner.explain(FAILED, gpu="rtx4090", model="qwen3-8b")),
}


@pytest.fixture(scope="module")
def client():
    with TestClient(pages.app(), base_url="http://127.0.0.1:8321") as found:
        yield found


def words(text: str) -> str:
    """A page's text without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


@pytest.mark.parametrize("job", [pytest.param(job, marks=[pytest.mark.slow] * JOBS[job].is_heavy) for job in CASES])
def test_a_jobs_numbers_are_those_of_the_contract(client, job):
    asked, ask = CASES[job]
    assert client.get(f"/{job}.json?{urlencode(asked)}").json() == json.loads(json.dumps(ask().to_dict()))
    page, part = client.get(f"{JOBS[job].path.strip('.')}?{urlencode(asked)}"), client.get(f"/answer/{job}?{urlencode(asked)}")
    shown = answer(made(JOBS[job], asked)).view
    for text in (words(page.text), words(part.text)):
        assert shown.title in text
        assert all(f"{figure.label} {figure.value}" in text for figure in shown.figures)
    assert words(client.get(f"/{job}.html?{urlencode(asked)}").text).count(shown.title) >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "asked", "ask"),
    [
        ("machines", {"model": "qwen3-32b", "context": "32k", "users": "10"}, lambda: planner.choose(model="qwen3-32b", context="32k", users=10)),
        ("models", {"gpu": "rtx4090", "count": "2", "purpose": "agent"}, lambda: planner.choose(gpu="rtx4090", count=2, purpose="agent")),
        (
            "capacity",
            {"gpu": "h100", "model": "qwen3-32b-fp8", "users": "100"},
            lambda: planner.capacity(gpu="h100", model="qwen3-32b-fp8", users=100),
        ),
    ],
)
def test_what_takes_long_is_the_contracts_too(client, job, asked, ask):
    assert client.get(f"/{job}.json?{urlencode(asked)}").json() == json.loads(json.dumps(ask().to_dict()))


@pytest.mark.slow
def test_runtimes_beside_each_other_are_the_command_lines(client, tmp_path):
    from tests.conftest import run_plan

    asked = {"gpu": "rtx4090", "count": "1,2", "model": "qwen3-8b", "context": "16k", "input": "1000", "utilization": "0.5", "usd_per_kwh": "0.3"}
    words = [word for name, value in asked.items() for word in (f"--{name.replace('_', '-')}", value)]
    done = run_plan("compare", *words, "--format", "json", cwd=tmp_path)
    assert client.get(f"/compare.json?{urlencode(asked)}").json() == json.loads(done.stdout)
    assert "What more GeForce RTX 4090 add" in client.get(f"/compare?{urlencode(asked)}").text


@pytest.mark.parametrize(
    ("job", "asked", "says", "link"),
    [
        ("plan", {"gpu": "rtx409", "model": "qwen3-8b"}, "not in the catalogue", "gpu=rtx4090"),
        ("plan", {"gpu": "rtx4090", "vram": "16GiB", "model": "qwen3-8b"}, "describes a card", "gpu=custom"),
        ("plan", {"model": "qwen3-8b"}, "no GPU is named", "gpu=rtx4090"),
        ("stack", {"gpu": "rtx4090", "model": "qwen3-8b", "beside": "qwen3-embeding-0.6b"}, "unknown model", "beside=qwen3-embedding-0.6b"),
        ("models", {"gpu": "h10", "count": "2"}, "not in the catalogue", "gpu=h100"),
        ("models", {"gpu": "h100", "purpose": "war"}, "purpose", ""),
        ("models", {"gpu": "h100", "top": "nan"}, "expected a number", ""),
        ("machines", {"model": "qwen3-32bb"}, "unknown model", "model=qwen3-32b"),
        ("machines", {"model": "qwen3-32b", "context": "999k"}, "beyond the model", "context=40960"),
        ("machines", {"model": "../../etc/passwd"}, "unknown model", ""),
        ("capacity", {"gpu": "h100", "model": "qwen3-8b", "ttft": "soon"}, "is not a time", ""),
        ("capacity", {"gpu": "h100", "model": "qwen3-8b", "percentile": "101"}, "expected a number from 50", ""),
        ("capacity", {"gpu": "h100", "model": "qwen3-embedding-0.6b"}, "embeds texts", ""),
        ("compare", {"gpu": "rtx4090", "model": "qwen3-14bb"}, "unknown model", "model=qwen3-14b"),
        ("compare", {"gpu": "rtx4090", "model": "qwen3-14b", "count": ",".join(map(str, range(1, 18)))}, "17 pairs", ""),
        ("cost", {"gpu": "h100", "model": "qwen3-8bb"}, "unknown model", "model=qwen3-8b"),
        ("cost", {"gpu": "h100", "model": "qwen3-8b", "utilization": "2"}, "expected a number from", ""),
        ("cost", {"gpu": "h100", "model": "qwen3-8b", "buy_usd": "nan"}, "expected a number from", ""),
        ("cost", {"gpu": "h100", "model": "qwen3-8b", "concurrency": "4", "rate": "1"}, "both say what is asked", ""),
        ("check", {"command": "make coffee", "gpu": "rtx4090"}, "no vLLM", ""),
        ("check", {"command": COMMAND}, "no GPU is named", "gpu=rtx4090"),
        ("check", {"command": COMMAND, "gpu": "a10"}, "", ""),
        ("explain", {"log": "once upon a time"}, "is not a log", ""),
        ("explain", {"log": LOG, "gpu": "rtx409"}, "not in the catalogue", "gpu=rtx4090"),
    ],
)
def test_a_fault_is_one_line_with_the_nearest_thing_that_works(client, job, asked, says, link):
    page, part = client.get(f"{JOBS[job].path.strip('.')}?{urlencode(asked)}"), client.get(f"/answer/{job}?{urlencode(asked)}")
    assert page.status_code == part.status_code == 200
    assert says in html.unescape(page.text)
    assert says in html.unescape(part.text)
    assert urlencode(dict([link.split("=")])) in part.text if link else True
    assert "Traceback" not in page.text


@pytest.mark.parametrize("job", list(JOBS))
@pytest.mark.parametrize(
    "field", ["count", "users", "context", "input", "turns", "tool_tokens", "subagents", "top", "documents", "vram", "tensor_parallel_size"]
)
@pytest.mark.parametrize("value", ["199999999999999999", "-1", "1e400", "١٢", "0x10"])
def test_no_number_costs_memory(client, job, field, value):
    if field not in JOBS[job].accepts:
        return
    asked = dict(JOBS[job].first) | ({"turns": "5"} if field in ("tool_tokens", "subagents") else {}) | EXAMPLES.get(job, {}) | {field: value}
    with pytest.raises(PlannerError):
        answer(read_state(asked.items(), JOBS[job]))


def test_a_pasted_text_becomes_an_address_where_it_is_short(client):
    asked = {"command": COMMAND, "gpu": "a100-80"}
    done = client.post("/check", data=asked, headers=ORIGIN, follow_redirects=False)
    assert done.status_code == 303
    address = done.headers["location"]
    assert "kv-cache-too-small" in client.get(urljoin("/check", address)).text
    part = client.post("/answer/check", data=asked, headers=ORIGIN)
    assert part.headers["hx-push-url"] == address


@pytest.mark.parametrize("text", [FAILED + "INFO nothing to see\n" * MOST_LINK_BYTES, FAILED + "--api-key sk-verysecretverysecret\n"])
def test_what_is_long_or_holds_a_secret_is_no_address(client, text):
    asked = {"log": text, "gpu": "rtx4090", "model": "qwen3-8b"}
    done = client.post("/explain", data=asked, headers=ORIGIN, follow_redirects=False)
    assert done.status_code == 200
    assert "No link holds this question" in done.text
    assert client.post("/answer/explain", data=asked, headers=ORIGIN).headers["hx-push-url"] == "explain"
    assert client.post("/explain.json", data=asked, headers=ORIGIN).json()["root_cause"]["code"] == "out-of-memory"


def test_a_pasted_text_has_bounds(client):
    form = {"Content-Type": "application/x-www-form-urlencoded"} | ORIGIN
    assert "at most 2 MiB" in client.post("/answer/check", content=b"command=" + b"x" * MOST_BODY_BYTES, headers=form).text
    assert client.post("/check.json", content=b"command=" + b"x" * MOST_BODY_BYTES, headers=form).status_code == 400
    assert client.post("/check", content=b"{}", headers={"Content-Type": "application/json"} | ORIGIN).status_code == 415
    assert client.post("/check", content=b"&".join(b"a=1" for _ in range(300)), headers=form).status_code == 200
    assert client.post("/models", data={"gpu": "h100"}, headers=ORIGIN).status_code == 405
    for foreign in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}):
        assert client.post("/check", data={"command": COMMAND}, headers=foreign).status_code == 403


def test_a_fault_of_ours_is_told_in_one_line(client, monkeypatch):
    monkeypatch.setattr(pages, "answer", lambda *_, **__: 1 / 0)
    asked = "?gpu=rtx4090&model=qwen3-8b"
    for path, status in (("/", 200), ("/answer/plan", 200), ("/plan.json", 503), ("/plan.html", 503)):
        told = client.get(path + asked)
        assert told.status_code == status
        assert "a fault of plan itself: ZeroDivisionError" in told.text and "report it" in told.text
        assert "Traceback" not in told.text


def test_a_link_from_elsewhere_computes_nothing_that_takes_long(client, monkeypatch):
    asked = []
    monkeypatch.setattr(pages, "answer", lambda state, hub: asked.append(state.job.name) or answer(state, hub=hub))
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for job in JOBS.values():
        page = client.get(job.path.strip(".").rjust(1, "/"), headers=followed)
        assert page.status_code == 200
        assert ("came by a link from another page" in page.text) == job.is_heavy
    assert not {name for name in asked if JOBS[name].is_heavy}


def test_the_hub_is_asked_only_where_somebody_waits_for_it(client, monkeypatch):
    from planner.catalogue import hub

    asked = []
    monkeypatch.setattr(hub, "_check_endpoint", lambda: asked.append(1))
    question = urlencode({"gpu": "rtx4090", "model": "nobody/nothing"})
    typed = client.get(f"/answer/plan?{question}")
    followed = client.get(f"/?{question}", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    checked = client.post("/answer/check", data={"command": "vllm serve nobody/nothing", "gpu": "rtx4090"}, headers=ORIGIN)
    for page in (typed, followed, checked):
        assert "press the button" in page.text
    assert not asked
    assert "Hugging Face Hub cannot be reached" in client.get(f"/answer/plan?{question}", headers={"X-Submit": "1"}).text
    assert asked


def test_other_engines_are_asked_only_where_somebody_waits_for_them(client):
    question = urlencode({"gpu": "rtx3060", "model": "gpt-oss-20b"})
    typed, pressed, whole = (
        client.get(f"/answer/plan?{question}"),
        client.get(f"/answer/plan?{question}", headers={"X-Submit": "1"}),
        client.get(f"/?{question}"),
    )
    assert "press the button, or Enter: Ollama or llama.cpp is then asked too" in typed.text
    assert "--engine ollama" not in typed.text
    for page in (pressed, whole):
        assert "--engine ollama" in page.text
        assert "press the button" not in page.text
    refused = client.get(f"/answer/plan?{urlencode({'gpu': 'rtx2080ti', 'model': 'gpt-oss-20b'})}")  # vLLM has no MXFP4 there
    assert "press the button, or Enter: Ollama or llama.cpp" in refused.text
    fitting = client.get(f"/answer/plan?{urlencode({'gpu': 'rtx4090', 'model': 'qwen3-32b'})}")  # its AWQ does
    assert "press the button" not in fitting.text


def test_a_model_of_the_hub_is_answered_where_it_is_asked_for(client, monkeypatch):
    from planner.catalogue import hub

    config = DATA / "configs" / "Qwen--Qwen3-8B.json"
    monkeypatch.setattr(hub, "_files", lambda repo: ("0" * 40, "2025-04", {"config.json": 1000}))
    monkeypatch.setattr(hub, "_download", lambda repo, name: config)
    monkeypatch.setattr(hub, "_tensors", lambda *_: ())
    question = urlencode({"gpu": "rtx4090", "count": "1", "model": "somebody/qwen3-tuned", "context": "8k"})
    known = client.get("/plan.json?gpu=rtx4090&count=1&model=qwen3-8b&context=8k").json()
    found = client.get(f"/plan.json?{question}").json()
    assert found["memory"]["weights_bytes"] == known["memory"]["weights_bytes"]
    assert "somebody/qwen3-tuned on 1x GeForce RTX 4090" in client.get(f"/answer/plan?{question}", headers={"X-Submit": "1"}).text


def test_alone_nobody_else_is_asked_and_no_thread_is_started(monkeypatch):
    monkeypatch.setattr(pages.threading, "Thread", None)
    with TestClient(pages.app(alone=True), base_url="http://127.0.0.1:8321") as client:
        assert "asks nobody" in client.get("/?gpu=rtx4090&model=nobody/nothing").text
        assert "starts" in client.get("/?gpu=rtx4090&model=qwen3-8b").text
        failing = client.get("/?gpu=rtx3060&model=gpt-oss-20b").text
        assert "a page without a server does not ask Ollama or llama.cpp too" in failing
        assert "--engine ollama" not in failing


def test_the_question_goes_along_from_job_to_job(client):
    page = client.get("/?gpu=h100&count=2&model=qwen3-32b-fp8&context=32k&kv_cache_dtype=fp8_e4m3").text
    nav = dict(re.findall(r'<li><a href="([^"]*)"(?: aria-current="page")?>([^<]*)</a>', page.partition("<nav")[2].partition("</nav>")[0]))
    by_title = {title: html.unescape(address) for address, title in nav.items()}
    assert by_title["Models"] == "models?gpu=h100&count=2&context=32k"
    assert by_title["Machines"] == "machines?model=qwen3-32b-fp8&context=32k"
    assert by_title["Check"] == "check?gpu=h100&count=2"
    assert by_title["Explain"] == "explain?gpu=h100&model=qwen3-32b-fp8&count=2"
    assert '<option value="fp8_e4m3" selected>' in page


@pytest.mark.parametrize(
    ("words_", "address"),
    [
        ("plan --gpu h100 --model qwen3-8b --context 8k", "./?gpu=h100&model=qwen3-8b&context=8k"),
        ("plan --gpu h100", "models?gpu=h100"),
        ("plan --model qwen3-8b --users 4", "machines?model=qwen3-8b&users=4"),
        ("plan capacity --gpu h100 --model qwen3-8b --ttft 1s", "capacity?gpu=h100&model=qwen3-8b&ttft=1s"),
        ("plan cost --gpu h100 --model qwen3-8b --buy-usd 30000", "cost?gpu=h100&model=qwen3-8b&buy_usd=30000"),
        ("plan --gpu h100 --model a --with b:context=8k --with c", "stack?gpu=h100&model=a&beside=b%3Acontext%3D8k&beside_2=c"),
        ("plan --gpu h100 --model qwen3-8b -tp 2 --enforce-eager", "./?gpu=h100&model=qwen3-8b&tensor_parallel_size=2&enforce_eager=yes"),
        ("--kv-cache-dtype fp8_e4m3", "./?gpu=rtx4090&count=2&model=qwen3-vl-32b-awq&kv_cache_dtype=fp8_e4m3"),
        ("plan bench --gpu h100", ""),
        ("plan --gpu 'h100", ""),
        ("--count", ""),
    ],
)
def test_words_to_type_are_a_question_of_the_page(words_, address):
    after = state_after(read_state([]), words_)
    assert (after.address if after else "") == address
