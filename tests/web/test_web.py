"""The page without a browser: what it refuses, what it serves, that its numbers are the command line's."""

import html
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from planner.catalogue import load
from planner.errors import PlannerError
from planner.facts.curve import Curve
from planner.questions.fields import MOST_CONTEXT, MOST_COUNT, MOST_USERS
from planner.report.svg import curve, short, ticks
from planner.web.answers import _kept, answer
from planner.web.app import app
from planner.web.jobs import JOBS
from planner.web.state import MOST_QUERY_BYTES, first, read_state, row_of
from tests.conftest import ROOT, run_plan, spawn

ASKED = {"gpu": "rtx4090", "count": "2", "model": "qwen3-vl-32b-awq", "context": "64k", "users": "", "host": "server", "engine": ""}


@pytest.fixture(scope="module")
def client():
    with TestClient(app(), base_url="http://127.0.0.1:8321") as found:
        yield found


def get(client, path: str, query: dict[str, str] | list[tuple[str, str]] | None = None, **headers: str):
    return client.get(f"{path}?{urlencode(query)}" if query else path, headers=headers)


def test_the_page_is_the_plan_of_its_address(client):
    page = get(client, "/", ASKED).text
    assert "QuantTrio/Qwen3-VL-32B-Instruct-AWQ on 2x GeForce RTX 4090" in page
    assert 'value="64k"' in page
    answer = get(client, "/answer/plan", ASKED)
    assert answer.text.partition("</title>")[2].partition('<div id="fault"')[0].strip() in page
    assert '<dd class="large">65,536</dd>' in answer.text
    assert answer.headers["hx-push-url"] == "./?" + urlencode({key: value for key, value in ASKED.items() if value and key != "host"})


def test_its_json_and_files_are_the_command_lines(client, tmp_path):
    done = run_plan("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq", "--context", "64k", "--format", "json", "--output", "here", cwd=tmp_path)
    ours, theirs = get(client, "/plan.json", ASKED).json(), json.loads(done.stdout)
    assert ours | {"files": []} == theirs | {"files": []}
    for name in ("serve.sh", "stack.sh", "litellm.yaml"):
        served = get(client, f"/download/{name}", ASKED)
        assert served.text == (tmp_path / "here" / name).read_text()
        assert served.headers["content-disposition"] == f'attachment; filename="{name}"'


def test_the_report_is_the_command_lines_but_for_who_made_it(client, tmp_path):
    run_plan("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq", "--context", "64k", "--html", "x.html", "--dry-run", cwd=tmp_path)
    ours, theirs = (text.split("</header>")[1] for text in (get(client, "/plan.html", ASKED).text, (tmp_path / "x.html").read_text()))
    assert ours == theirs


@pytest.mark.parametrize(
    "path",
    [
        "/download/..%2f..%2fetc%2fpasswd",
        "/download/%2e%2e/plan.json",
        "/static/..%2fapp.py",
        "/static/../app.py",
        "/download/no.sh",
        "/static/x",
        "/etc/passwd",
    ],
)
def test_no_path_leads_out(client, path):
    answer = get(client, path, ASKED)
    assert answer.status_code == 404
    assert "root:" not in answer.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8321", "127.0.0.1.evil.example", "127.0.0.1:8321@evil.example", "", "localhost.", "[::2]:8321"])
def test_foreign_hosts_are_refused(client, host):
    assert get(client, "/answer/plan", ASKED, Host=host).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8321", "localhost:1", "[::1]:8321", "localhost"])
def test_our_own_names_are_answered(client, host):
    assert get(client, "/answer/plan", ASKED, Host=host).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8321", "http://127.0.0.1:9999", "http://127.0.0.1"])
def test_foreign_origins_are_refused(client, origin):
    assert get(client, "/answer/plan", ASKED, Origin=origin).status_code == 403


def test_our_own_origin_is_answered(client):
    assert get(client, "/answer/plan", ASKED, Origin="http://127.0.0.1:8321").status_code == 200
    assert get(client, "/answer/plan", ASKED, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert get(client, "/", ASKED, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}).status_code == 200
    for path, where in (("/", "iframe"), ("/plan.json", "document"), ("/download/serve.sh", "document")):
        assert get(client, path, ASKED, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": where}).status_code == 403


def test_bodies_and_other_methods_are_refused(client):
    assert client.post("/answer/plan", content=b"x" * 10_000_000).status_code == 405
    assert client.request("GET", "/answer/plan", content=b"x" * 10_000_000).status_code == 413
    assert client.request("GET", "/answer/plan", content=iter([b"x"])).status_code == 413
    assert client.get("/answer/plan?model=" + "x" * MOST_QUERY_BYTES).status_code == 414
    assert client.delete("/").status_code == 405


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": "<script>alert(1)</script>"}, "unknown model"),
        ({"model": "/etc/passwd"}, "unknown model"),
        ({"model": "../../etc"}, "unknown model"),
        ({"model": "nobody/nothing"}, "is not in the catalogue"),
        ({"model": ""}, "unknown model"),
        ({"gpu": "'; DROP TABLE gpus"}, "not in the catalogue"),
        ({"count": "0"}, "expected a whole number from 1"),
        ({"count": "1e9"}, "is not a number"),
        ({"count": "\uff19"}, "is not a number"),
        ({"users": "-1"}, "is not a number"),
        ({"users": "0"}, "expected a whole number from 1"),
        ({"users": "nan"}, "is not a number"),
        ({"context": "nan"}, "is not a number"),
        ({"context": "9" * 150}, "is not a number"),
        ({"context": "999k"}, "beyond the model"),
        ({"host": "mars"}, "host"),
        ({"engine": "tensorrt"}, "engine"),
        ({"model": "a" * 300}, "too long"),
        ({"model": "a\x00b"}, "nobody types"),
        ({"admin": "1"}, "nothing that is asked here"),
    ],
)
def test_hostile_states_are_answered_in_words(client, change, says):
    answer = get(client, "/answer/plan", ASKED | change)
    assert answer.status_code == 200
    assert says in answer.text.replace("&#39;", "'")
    assert "<script>" not in answer.text
    for path in ("/plan.json", "/plan.html", "/download/serve.sh"):
        assert get(client, path, ASKED | change).status_code == (503 if change == {"model": "nobody/nothing"} else 400)  # the Hub cannot be asked


@pytest.mark.parametrize("name", ["gpu", "model", "count", "context", "users"])
def test_what_stands_twice_in_an_address_is_refused(client, name):
    asked = [*ASKED.items(), (name, ASKED.get(name, "1")), (name, "2")]
    for path, status in (("/", 200), ("/answer/plan", 200), ("/plan.json", 400), ("/download/serve.sh", 400)):
        answer = get(client, path, asked)
        assert answer.status_code == status
        assert f"{name}' is given twice" in answer.text.replace("&#39;", "'")


DIGITS = st.text("0123456789\u0660\u0669\uff11\u00b2\u2460 +-_.eEkKxX,", min_size=1, max_size=60)
NUMBERS = st.one_of(DIGITS, st.integers(0, 10**40).map(str), st.integers(0, 2000).map(lambda value: f"{value:>020}"), st.integers(0, 3000).map(str))


@given(name=st.sampled_from(["count", "users", "context"]), text=NUMBERS)
@example("count", "00000000000199999999")
@example("users", "0000000000009999999999999")
@example("context", "\u0661\u0662")
@example("count", "\u00b2")
def test_a_number_is_within_its_bounds_or_refused(name, text):
    """Whatever is written: the question has the numbers that the command line would take, or there is none."""
    most = {"count": MOST_COUNT, "users": MOST_USERS, "context": MOST_CONTEXT}[name]
    try:
        row = row_of(read_state((ASKED | {name: text}).items()))
    except PlannerError as error:
        assert "\n" not in error.message
        return
    value = row.count if name == "count" else getattr(row.services[0], name)
    assert value is None or (type(value) is int and 1 <= value <= most)
    assert value is None or text.isascii()


def test_a_length_that_is_no_number_is_a_body(client):
    assert client.get("/answer/plan", headers={"Content-Length": b"\xb2"}).status_code == 413


def test_a_helper_that_is_killed_is_started_again(tmp_path):
    command = [
        sys.executable,
        "-c",
        "from planner.cli import web; web.HELPERS, web.RESTART_S = 1, 0.1; web.web_command(['--no-open', '--port', '0'])",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}) as server:
        try:
            server.stderr.readline()
            first = helper_of(server.pid, without=None)
            os.kill(first, signal.SIGKILL)
            assert helper_of(server.pid, without=first) != first
        finally:
            server.terminate()


def helper_of(parent: int, without: int | None) -> int:
    """The process that a page's server started, once there is one that is not `without`."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, above = path.read_text().rpartition(")")[2].split()[:2]
                words = path.with_name("cmdline").read_bytes()
                if int(above) == parent and state != "Z" and b"spawn_main" in words and int(path.parent.name) != without:
                    return int(path.parent.name)
        time.sleep(0.05)
    raise AssertionError("no helper is there")


def test_every_answer_says_what_a_browser_may_do(client):
    for path in ("/", "/answer/plan", "/static/style.css", "/plan.json", "/nothing"):
        headers = get(client, path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attributes if name in ("href", "src", "action") and value]


def test_every_link_of_the_page_is_served(client):
    links = _Links()
    links.feed(get(client, "/", ASKED).text)
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}  # what takes long is not computed for a link
    for link in links.found:
        if not link.startswith(("data:", "#")):
            path = urljoin("/", link)
            headers = followed if path.partition("?")[0].strip("/") in JOBS else {}
            assert client.get(path, headers=headers).status_code == 200, link


def test_a_report_loads_nothing(client):
    links = _Links()
    links.feed(get(client, "/plan.html", ASKED).text)
    assert [link for link in links.found if not link.startswith("data:")] == []


def test_the_first_visit_and_a_state_are_read_strictly():
    assert read_state([]) == first(JOBS["plan"])
    asked = read_state([("gpu", "h100"), ("model", "qwen3-8b"), ("context", ""), ("host", "server")])
    assert asked.values == (("gpu", "h100"), ("model", "qwen3-8b"))
    assert asked.command_line == "plan --gpu h100 --model qwen3-8b"


def test_the_page_asks_for_the_load(client):
    asked = {"gpu": "h100", "model": "qwen3-8b", "input": "8000", "output_tokens": "200", "concurrency": "16"}
    speed = get(client, "/plan.json", asked).json()["services"][0]["speed"]
    assert (speed["prompt_tokens"], speed["output_tokens"]) == (8000, 200)
    assert "16" in get(client, "/answer/plan", asked).text
    assert read_state(asked.items()).command_line == "plan --gpu h100 --model qwen3-8b --input 8000 --output-tokens 200 --concurrency 16"
    assert "expected a whole number from 1 to 10000000" in get(client, "/answer/plan", asked | {"input": "0"}).text


def test_a_mac_and_what_does_not_start_have_pages(client):
    assert "mlx" in get(client, "/answer/plan", {"gpu": "m4-max-64gb", "model": "qwen3-8b"}).text
    failing = get(client, "/answer/plan", {"gpu": "rtx4090", "model": "qwen3-32b"}).text
    assert "does not start" in failing
    assert "What would do" in failing
    assert "/download/" not in failing
    assert get(client, "/download/serve.sh", {"gpu": "rtx4090", "model": "qwen3-32b"}).status_code == 404


def test_ticks_are_short():
    assert [short(value) for value in (0.1, 5.0, 12.0, 1024, 131_072, 1_048_576, 262_144, 3000)] == ["0.1", "5", "12", "1K", "128K", "1M", "256K", "3,000"]


@pytest.mark.parametrize(("low", "high", "found"), [(20, 100, [20, 50, 100]), (0.1, 100, [0.1, 1, 10, 100]), (3, 4, []), (1, 1000, [1, 10, 100, 1000])])
def test_axes_are_marked_in_ones_twos_and_fives(low, high, found):
    assert ticks(low, high) == pytest.approx(found)


@pytest.mark.parametrize("lowest", [0.0, 1e-9, 4e-4, 0.5])
def test_a_curve_begins_at_nearly_nothing(lowest):
    drawn = Curve("concurrency", "Concurrency", "tokens", "concurrency", ((1024, lowest, 3.0, 4.0), (2048, lowest / 2, 1.5, 2.0)))
    assert "nan" not in curve(drawn)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_server_ends(end, tmp_path):
    with spawn("web", "--no-open", "--port", "0", cwd=tmp_path, start_new_session=True) as server:
        port = int(re.search(r":(\d+)/", server.stderr.readline())[1])
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                assert httpx.get(f"http://127.0.0.1:{port}/static/style.css", timeout=10).status_code == 200
                break
            except httpx.TransportError:
                time.sleep(0.1)
        server.send_signal(end)
        server.wait(timeout=20)
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return
            time.sleep(0.1)
        pytest.fail("somebody still listens")


def test_a_port_that_is_taken(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run_plan("web", "--no-open", "--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert done.returncode == 2
    assert "--port 0 takes a free one" in done.stderr


@pytest.mark.parametrize(
    ("change", "link"),
    [
        ({"model": "qwen3-8bb"}, ("model", "qwen3-8b")),
        ({"gpu": "rtx409"}, ("gpu", "rtx4090")),
        ({"engine": "olama"}, ("engine", "ollama")),
        ({"model": "qwen3-8b", "context": "999k"}, ("context", "40960")),
    ],
)
def test_a_fault_offers_what_can_be_asked_instead(client, change, link):
    answer = get(client, "/answer/plan", ASKED | change)
    assert answer.headers["hx-retarget"] == "#fault"  # the answer before it stays
    addresses = [dict(parse_qsl(urlsplit(html.unescape(address)).query)) for address in re.findall(r'href="(\./\?[^"]*)"', answer.text)]
    name, value = link
    assert [found for found in addresses if found[name] == value], answer.text
    for found in addresses:
        again = get(client, "/answer/plan", found)
        assert "unknown" not in again.text


def test_changes_are_links_that_ask(client):
    answer = get(client, "/answer/plan", {"gpu": "rtx4090", "count": "1", "model": "qwen3-32b"})
    changes = answer.text.partition("What would do")[2].partition("</ul>")[0]
    addresses = [dict(parse_qsl(urlsplit(html.unescape(address)).query)) for address in re.findall(r'href="(\./\?[^"]*)"', changes)]
    assert addresses
    for found in addresses:
        assert 'class="verdict good"' in get(client, "/answer/plan", found).text, found


def test_typing_in_one_field_is_one_step_of_the_history(client):
    assert "hx-push-url" in client.get("/answer/plan", params=ASKED).headers
    assert "hx-replace-url" in client.get("/answer/plan", params=ASKED, headers={"X-Typing": "1"}).headers


def test_servers_are_shown_in_the_order_in_which_they_start():
    from planner.facts.question import ServiceRow, StackRow
    from planner.questions.plan import answer_for
    from planner.report.view import view_of

    row = StackRow(gpu="rtx4090", count=2, services=[ServiceRow(model="qwen3-vl-32b-awq"), ServiceRow(model="qwen3-embedding-0.6b")])
    found = answer_for(row)
    assert [name for name, _ in view_of(found).commands] == [plan.service.name for plan in found.plans]


def test_a_refusal_that_is_kept_holds_nothing_of_what_was_computed():
    state = read_state([("gpu", "h100"), ("model", "no-such-model-at-all")], JOBS["plan"])
    raised = []
    for _ in range(2):
        with pytest.raises(PlannerError) as refused:
            answer(state, hub="not asked")
        raised.append(refused.value)
    assert raised[0] is not raised[1]
    assert (type(raised[0]), raised[0].message, raised[0].hint) == (type(raised[1]), raised[1].message, raised[1].hint)
    kept = _kept(load.current(), state, "not asked")
    assert (kept.__traceback__, kept.__context__, kept.__cause__) == (None, None, None)
