"""`plan serve`: its answers are the command line's, and what is wrong, foreign, too large or too much is refused in one form."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import anyio
import httpx
import jsonschema
import pytest
from starlette.testclient import TestClient

from planner.remote import http as door
from planner.remote.openapi import described
from planner.remote.tools import TOOLS
from tests.conftest import spawn
from tests.remote.test_tools import example_of

OPTIONS = ("--request-timeout", "60", "--max-examples", "5", "--generation-deterministic", "--exclude-checks", "positive_data_acceptance", "--no-color")
HOME = "http://127.0.0.1:8322"


@pytest.fixture
def client():
    with TestClient(door.app(1000), base_url=HOME, raise_server_exceptions=False) as asking:
        yield asking


@pytest.mark.parametrize("name", TOOLS)
def test_an_answer_is_the_tools(client, name):
    answer = client.post(f"/v2/{name}", json=TOOLS[name].example)
    assert answer.status_code == 200, answer.text
    assert answer.json() == json.loads(json.dumps(example_of(name).json))


def test_the_description_holds_every_question():
    document = described()
    assert {f"/v2/{name}" for name in TOOLS} < set(document["paths"])
    references = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(document)))
    assert references <= set(document["components"]["schemas"])
    assert "#/$defs" not in json.dumps(document)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("status", "request_of"),
    [
        (422, {"json": {"gpu": "rtx4900", "model": "qwen3-8b"}}),
        (422, {"json": []}),
        (422, {"json": {}}),
        (400, {"content": b"{", "headers": {"content-type": "application/json"}}),
        (400, {"content": b"[" * 200_000, "headers": {"content-type": "application/json"}}),
        (400, {"content": b"\xff", "headers": {"content-type": "application/json"}}),
        (413, {"content": b" " * (door.MOST_BODY_BYTES + 1), "headers": {"content-type": "application/json"}}),
        (415, {"content": b"{}"}),
        (403, {"json": {}, "headers": {"origin": "http://evil.example"}}),
        (421, {"json": {}, "headers": {"host": "evil.example"}}),
    ],
)
def test_what_is_wrong_is_refused(client, status, request_of):
    answer = client.post("/v2/plan", **request_of)
    assert answer.status_code == status, answer.text
    if status not in (403, 421):
        assert set(answer.json()["error"]) == {"message", "hint"}


@pytest.mark.parametrize("name", ["check", "explain"])
def test_half_a_character_is_answered_as_it_came(name, client):
    asked = {"check": {"command": "vllm serve qwen3-8b --served-model-name \ud800", "gpu": "rtx4090"}, "explain": {"log": "ERROR ValueError: a \ud800 b"}}[name]
    answer = client.post(f"/v2/{name}", content=json.dumps(asked), headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert "\ud800" in json.dumps(answer.json(), ensure_ascii=False)


def test_other_paths_and_methods_are_refused(client):
    assert client.get("/nope").status_code == 404
    refused = client.get("/v2/plan")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert client.get("/healthz").json() == {"status": "ok"}


def test_more_than_the_rate_is_refused():
    with TestClient(door.app(1), base_url=HOME) as asking:
        codes = [asking.get("/healthz").status_code for _ in range(6)]
    assert codes[:2] == [200, 200]
    assert 429 in codes


def test_more_than_may_wait_is_refused():
    async def ask():
        turn, statuses = door.Turn(), []

        async def one():
            statuses.append((await turn.answer(TOOLS["plan"], {"gpu": "rtx4090", "model": "qwen3-8b"})).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(door.MOST_WAITING + 10):
                group.start_soon(one)
        return statuses

    statuses = anyio.run(ask)
    assert set(statuses) == {200, 503}


def test_a_fault_of_ours_is_told_without_its_trace(monkeypatch):
    monkeypatch.setitem(door.TOOLS, "plan", replace(TOOLS["plan"], takes=TOOLS["plan"].ask, ask=lambda **_: 1 / 0))
    with TestClient(door.app(1000), base_url=HOME, raise_server_exceptions=False) as asking:
        answer = asking.post("/v2/plan", json={"gpu": "rtx4090", "model": "x"})
    assert answer.status_code == 500
    assert "a fault of plan itself: ZeroDivisionError" in answer.json()["error"]["message"]
    assert "Traceback" not in answer.text


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path):
    """The served description against the server, with values that nobody thought of. A question of the right form may name what is not known: that is no finding."""
    process = spawn("serve", "--port", "0", "--rate", "10000", cwd=tmp_path)
    try:
        address = re.search(r"http://\S+/", process.stderr.readline())[0]
        assert httpx.get(f"{address}healthz").json() == {"status": "ok"}
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", f"{address}openapi.json", *OPTIONS],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        assert done.returncode == 0, done.stdout[-4000:]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
