"""The page and the report in Chromium: the main job clicked through, no request that leaves, no error, no barrier."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.conftest import run_plan
from tests.judges import chromium, library

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.judge
Axe = library("axe_playwright_python.sync_playwright").Axe
sync_playwright = library("playwright.sync_api").sync_playwright
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=QUIET)
        yield found
        found.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    command = [sys.executable, "-m", "planner", "web", "--no-open", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path_factory.mktemp("web")) as process:
        line = process.stderr.readline()
        yield re.search(r"http://127\.0\.0\.1:\d+", line)[0]
        process.terminate()


def _is_replaced(text: str) -> bool:
    """A question that a newer one took the place of; one that fails says htmx:sendError or htmx:responseError too."""
    return text.startswith(("htmx:sendAbort", "htmx:afterRequest"))


class Watched:
    """A page whose requests, errors and console are kept."""

    def __init__(self, browser: Browser, **more) -> None:
        self.page: Page = browser.new_page(**more)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda message: self.errors.append(message.text) if message.type in ("error", "warning") and not _is_replaced(message.text) else None
        )


@pytest.fixture
def watched(browser) -> Iterator[Watched]:
    found = Watched(browser, viewport={"width": 1000, "height": 900})
    yield found
    found.page.close()
    assert found.errors == []


def until(page: Page, text: str) -> None:
    """Wait for a text in the answer; between two pages there is no answer yet."""
    page.wait_for_function("text => document.getElementById('answer')?.innerText.includes(text)", arg=text)


def test_the_main_job(watched, server, tmp_path):
    page = watched.page
    page.goto(server)
    until(page, "RTX 4090")
    page.fill("#gpu", "h100")
    page.fill("#count", "1")
    page.fill("#model", "qwen3-32b-fp8")
    page.fill("#context", "32k")
    until(page, "32,768")
    until(page, "H100")
    state = dict(parse_qsl(urlsplit(page.url).query))
    assert state == {"gpu": "h100", "count": "1", "model": "qwen3-32b-fp8", "context": "32k"}
    done = run_plan("--gpu", "h100", "--model", "qwen3-32b-fp8", "--context", "32k", "--format", "json", "--output", "files", cwd=tmp_path)
    expected = json.loads(done.stdout)
    rows = dict(page.eval_on_selector_all(".ledger tbody tr", "rows => rows.map(row => [row.children[0].innerText.trim(), Number(row.children[1].innerText)])"))
    memory = expected["memory"]
    for name, key in (("weights", "weights_bytes"), ("KV cache", "kv_cache_bytes"), ("activation", "activation_bytes"), ("requested", "requested_bytes")):
        assert rows[name] == round(memory[key] / 1024**3, 2)
    assert page.inner_text("#command-1") == " ".join(expected["commands"][0]["argv"])
    assert f"concurrency {memory['max_concurrency']:.2f}x" in page.inner_text("#answer")
    with page.expect_download() as download:
        page.click("text=serve.sh")
    assert Path(download.value.path()).read_text() == (tmp_path / "files" / "serve.sh").read_text()
    assert all(url.startswith(server) for url in watched.requests)


def test_the_address_is_the_plan(watched, server):
    page = watched.page
    page.goto(f"{server}/?gpu=a100-80&count=2&model=qwen3-8b&users=3")
    until(page, "A100")
    assert page.input_value("#users") == "3"
    page.reload()
    until(page, "A100")


def test_what_cannot_be_is_said_while_typing(watched, server):
    page = watched.page
    page.goto(server)
    page.fill("#model", "qwen3-8bb")
    until(page, "unknown model 'qwen3-8bb'")
    page.fill("#model", "qwen3-8b")
    until(page, "starts")


def test_a_wrong_word_leaves_the_answer_and_offers_the_right_one(watched, server):
    page = watched.page
    page.goto(f"{server}/?gpu=h100&count=1&model=qwen3-8b")
    until(page, "starts")
    page.fill("#model", "qwen3-8bb")
    until(page, "unknown model")
    until(page, "starts")
    page.click("#fault a >> nth=0")
    until(page, "starts")
    assert page.input_value("#model").startswith("qwen3-8b")
    assert page.inner_text("#fault") == ""


@pytest.mark.parametrize("latency_ms", [0, 400])
def test_back_goes_to_the_question_before(watched, server, latency_ms):
    page = watched.page
    page.goto(f"{server}/?gpu=h100&count=1&model=qwen3-8b")
    until(page, "H100")
    network = {"offline": False, "latency": latency_ms, "downloadThroughput": -1, "uploadThroughput": -1}  # the answers to the first letters come too late
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", network)
    page.focus("#gpu")
    page.keyboard.press("Control+A")
    page.keyboard.type("rtx4090", delay=120)
    until(page, "RTX 4090")
    page.go_back()
    until(page, "H100")
    assert page.input_value("#gpu") == "h100"


def test_a_change_is_a_link(watched, server):
    page = watched.page
    page.goto(f"{server}/?gpu=rtx4090&count=1&model=qwen3-32b")
    until(page, "does not start")
    page.click(".problems a >> nth=0")
    until(page, "tokens of context")
    assert page.locator(".good").count() == 1
    page.go_back()
    until(page, "does not start")


def test_the_command_is_copied(browser, server):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(server)
    page.click("button.copy")
    page.wait_for_function("document.querySelector('button.copy').textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#command-1")
    context.close()


def test_without_javascript_the_form_still_asks(browser, server):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(server)
    page.fill("#gpu", "h100")
    page.click("button[type=submit]")
    assert "H100" in page.inner_text("#answer")
    context.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    done = run_plan(
        "--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq", "--with", "qwen3-embedding-0.6b", "--html", "report.html", "--dry-run", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return folder / "report.html"


def test_the_report_works_from_a_file_alone(watched, report):
    page = watched.page
    page.goto(report.as_uri())
    assert watched.requests == [report.as_uri()]
    assert page.locator("svg[role=img]").count() == 4
    page.click("summary >> nth=0")
    assert page.locator("details[open] table").count() == 1
    page.emulate_media(media="print")
    assert not page.locator("button.copy").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("what", ["page", "fault", "report", "failing"])
def test_no_barriers(browser, server, report, scheme, what):
    page = browser.new_page(color_scheme=scheme)
    address = {"page": server, "fault": f"{server}/?gpu=h100&model=nothing", "report": report.as_uri(), "failing": f"{server}/?gpu=rtx4090&model=qwen3-32b"}[
        what
    ]
    page.goto(address)
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
    assert found.violations_count == 0, found.generate_report()
    page.close()
