"""The page without a server, served as files under a sub-path: the main job, links, history, files, no request that leaves, no barrier. Loaded once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from starlette.testclient import TestClient
from test_browser import Axe, Watched, browser, until  # noqa: F401 - browser is a fixture
from test_jobs import CASES, COMMAND

from planner.web.app import app
from planner.web.jobs import JOBS
from tests.conftest import run_plan
from tests.judges import judge_venv
from tools.static_page.build import build

pytestmark = pytest.mark.judge


class Files(SimpleHTTPRequestHandler):
    """Any host of static files, without a word."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("host")
    build(folder / "pages" / "plan", judge_venv("static-page"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/pages/plan/"
        server.shutdown()


@pytest.fixture(scope="module")
def opened(browser, address) -> Iterator[Watched]:  # noqa: F811
    """The page, loaded once; from then on there is no network."""
    found = Watched(browser, viewport={"width": 1000, "height": 900}, accept_downloads=True)
    found.page.set_default_timeout(60_000)
    found.page.goto(address)
    assert "about" in found.page.inner_text("#starting")
    until(found.page, "RTX 4090")
    found.page.wait_for_selector("button.copy", state="visible")  # by the last script that the page brings
    assert all(url.startswith(address) for url in found.requests)
    found.requests.clear()
    found.page.context.set_offline(True)
    yield found
    assert [url for url in found.requests if not url.startswith("blob:")] == []
    assert found.errors == []
    found.page.close()


@pytest.fixture
def page(opened):
    return opened.page


@pytest.fixture(scope="module")
def server() -> TestClient:
    return TestClient(app(alone=True), base_url="http://127.0.0.1")


def fill(page, **fields: str) -> None:
    for name, value in fields.items():
        page.fill(f"#{name}", value)


def go(page, job: str) -> None:
    """To a job by the navigation."""
    page.click(f"#jobs >> text={JOBS[job].title}")
    page.wait_for_function("asks => document.querySelector('h1')?.innerText === asks", arg=JOBS[job].asks)


ASK = """([address]) => new Promise((resolve) => {
  const request = new XMLHttpRequest();
  request.open("GET", address);
  request.onload = () => resolve(request.responseText);
  request.send();
})"""


ASKED = {name: asked for name, (asked, _) in CASES.items()} | {
    "machines": {"model": "qwen3-32b", "context": "32k", "users": "10"},
    "compare": {"gpu": "rtx4090", "count": "1,2", "model": "qwen3-8b", "context": "16k"},
}


@pytest.mark.parametrize("job", JOBS)
def test_the_numbers_are_the_servers(page, server, job):
    go(page, job)
    query = urlencode(ASKED[job])
    expected = server.get(f"/{job}.json?{query}")
    assert expected.status_code == 200
    assert page.evaluate(ASK, [f"{job}.json?{query}"]) == expected.text
    page.click("header .brand")
    until(page, "RTX 4090")


def test_the_main_job(page, tmp_path):
    fill(page, gpu="h100", count="1", model="qwen3-32b-fp8", context="32k")
    until(page, "32,768")
    until(page, "H100")
    state = dict(parse_qsl(urlsplit(page.url).query))
    assert state == {"gpu": "h100", "count": "1", "model": "qwen3-32b-fp8", "context": "32k"}
    done = run_plan("--gpu", "h100", "--model", "qwen3-32b-fp8", "--context", "32k", "--format", "json", "--output", "files", cwd=tmp_path)
    expected = json.loads(done.stdout)
    for words, name, text in (("serve.sh", "serve.sh", (tmp_path / "files" / "serve.sh").read_text()), ("as JSON", "plan.json", None)):
        with page.expect_download() as download:
            page.click(f"text={words} >> nth=0")
        found = Path(download.value.path()).read_text()
        assert download.value.suggested_filename == name
        if text is None:  # whole, but for what the command line's own words and the files that it wrote are
            said = json.loads(found)
            assert {key: said[key] for key in ("memory", "settings", "commands", "speed")} == {
                key: expected[key] for key in ("memory", "settings", "commands", "speed")
            }
        else:
            assert found == text


def test_back_goes_to_the_question_before_and_forward_again(page):
    fill(page, gpu="a100-80", count="1", model="qwen3-8b", context="")
    until(page, "A100")
    page.focus("#gpu")
    page.keyboard.press("Control+A")
    page.keyboard.type("rtx3090", delay=60)
    until(page, "RTX 3090")
    page.go_back()
    until(page, "A100")
    assert page.input_value("#gpu") == "a100-80"
    page.go_forward()
    until(page, "RTX 3090")


def test_a_change_is_a_link(page, address):
    fill(page, gpu="rtx4090", count="1", model="qwen3-32b")
    until(page, "does not start")
    link = page.locator(".problems a >> nth=0")
    assert link.evaluate("link => link.href").startswith(f"{address}?")
    link.click()
    until(page, "tokens of context")
    page.go_back()
    until(page, "does not start")


def test_a_model_of_the_hub_is_for_the_command_line(page):
    fill(page, gpu="h100", count="1", model="somebody/something")
    page.keyboard.press("Enter")
    until(page, "a page without a server asks nobody")
    fill(page, model="qwen3-8b")
    until(page, "starts")


def test_a_command_is_pasted_and_its_answer_has_an_address(page, address):
    go(page, "check")
    fill(page, gpu="a100-80", command=COMMAND)
    page.click("button[type=submit]")
    until(page, "does not start")
    assert page.url.startswith(f"{address}?/check?")
    go(page, "explain")
    page.go_back()
    until(page, "does not start")
    assert page.input_value("#command") == COMMAND
    page.click("header .brand")
    until(page, "RTX 4090")


def test_the_command_is_copied(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("button.copy")
    page.wait_for_function("() => document.querySelector('button.copy').textContent === 'Copied'")
    assert page.evaluate("() => navigator.clipboard.readText()") == page.inner_text("#command-1")


def test_no_barriers(page):
    for width in (390, 768, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
        assert found.violations_count == 0, found.generate_report()


def test_a_link_is_a_question_and_what_is_missing_is_said(browser, address):  # noqa: F811
    found = Watched(browser)
    page = found.page
    page.set_default_timeout(60_000)
    page.goto(f"{address}?/compare?gpu=a100-80&count=1&model=qwen3-8b&users=3")
    until(page, "A100")
    assert page.input_value("#users") == "3"
    assert found.errors == []
    page.route("**/program.zip", lambda route: route.abort())
    page.goto(f"{address}index.html")
    page.wait_for_function("() => document.body.innerText.includes('could not go on')")
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
    assert found.violations_count == 0, found.generate_report()
    page.close()
