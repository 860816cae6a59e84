"""The page without a server, as files under a sub-path: the jobs as on the server (test_browser_jobs.py), what is its own, no request that leaves. It is loaded once."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from starlette.testclient import TestClient
from test_browser import Axe, Watched, browser, until  # noqa: F401 - browser is a fixture
from test_browser_jobs import ASKED as JOBS_ASKED
from test_browser_jobs import (  # noqa: F401 - the same tests, on this page
    RULES,
    WIDTHS,
    fill,
    test_a_failed_check_is_mended_by_its_link,
    test_a_fault_keeps_the_answer_and_offers_the_nearest,
    test_a_row_leads_to_its_plan_and_back,
    test_an_explained_log_leads_to_a_command_that_starts,
    test_nothing_but_the_keyboard,
    test_what_is_sent_is_not_asked_again_by_the_letters_before_it,
)
from test_browser_jobs import test_each_job_from_the_navigation_to_its_numbers as clicked_through

from planner.web.app import app
from planner.web.jobs import JOBS
from tests.judges import judge_venv
from tools.static_page.build import build

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.judge
PATIENCE_MS = 60_000  # two cores have more to do than this
GO = """address => {
  document.querySelector("h1").dataset.isOld = "";
  document.body.appendChild(Object.assign(document.createElement("a"), { href: address })).click();
}"""
ASK = """address => new Promise((resolve) => {
  const request = new XMLHttpRequest();
  request.open("GET", address);
  request.onload = () => resolve(request.responseText);
  request.send();
})"""


class Files(SimpleHTTPRequestHandler):
    """Any host of static files, without a word."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[str]:
    parts = judge_venv("static-page")
    of_all = "PYTEST_XDIST_WORKER" in os.environ  # then it is built by the first worker that asks, for all
    folder = tmp_path_factory.getbasetemp().parent / "static-page" if of_all else tmp_path_factory.mktemp("static-page")
    with (folder.parent / "static-page.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "pages").exists():
            build(folder / "pages" / "plan", parts)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/pages/plan/"
        server.shutdown()


@pytest.fixture(scope="module")
def loaded(browser, site) -> Iterator[Watched]:  # noqa: F811
    """The page, loaded; from then on there is no network."""
    found = Watched(browser, viewport={"width": 1000, "height": 900}, accept_downloads=True)
    page = found.page
    page.set_default_timeout(PATIENCE_MS)
    page.goto(site)
    assert "about" in page.inner_text("#starting")
    until(page, "RTX 4090")
    page.wait_for_selector("button.copy", state="visible")
    page.wait_for_function("count => document.querySelectorAll('script[src]').length === count", arg=4)
    page.wait_for_load_state("networkidle")
    assert all(url.startswith(site) for url in found.requests)
    found.requests.clear()
    page.context.set_offline(True)

    def goto(address: str) -> None:
        """As by a link: the page stays loaded."""
        page.evaluate(GO, address)
        page.wait_for_function("() => document.querySelector('h1') && !('isOld' in document.querySelector('h1').dataset)")

    page.goto = goto
    yield found
    assert [url for url in found.requests if not url.startswith("blob:")] == []
    assert found.errors == []
    page.close()


def pytest_generate_tests(metafunc) -> None:
    """How one page leads to another is the same at each width."""
    if "opened" in metafunc.fixturenames and "job" not in metafunc.fixturenames:
        metafunc.parametrize("opened", WIDTHS[:1], indirect=True)


@pytest.fixture(scope="module")
def opened(request, loaded) -> Watched:
    loaded.page.set_viewport_size({"width": request.param, "height": 900})
    return loaded


@pytest.fixture
def page(loaded, site) -> Page:
    loaded.page.goto(site)
    return loaded.page


# The pages are laid out by the files of the server's, which are tried at every width of every job: here the first job is, and of the others each width has some.
AT_WIDTHS = [*((width, "plan") for width in WIDTHS), *((WIDTHS[place % len(WIDTHS)], job) for place, job in enumerate(JOBS_ASKED) if job != "plan")]


@pytest.mark.parametrize(("opened", "job"), AT_WIDTHS, indirect=["opened"])
def test_each_job_is_clicked_through(opened, site, job):
    clicked_through(opened, site, job)


@pytest.mark.parametrize("job", [job for job in JOBS if job != "cost"])  # it has no genai-prices, so no price of an API stands beside
def test_what_a_program_reads_is_the_servers(page, job):
    query = urlencode(JOBS_ASKED[job][0])
    expected = TestClient(app(alone=True), base_url="http://127.0.0.1").get(f"/{job}.json?{query}")
    assert expected.status_code == 200
    assert page.evaluate(ASK, f"{job}.json?{query}") == expected.text


def test_files_are_saved(page):
    server = TestClient(app(alone=True), base_url="http://127.0.0.1")
    for words, address in (("serve.sh", "/download/serve.sh"), ("This answer as one page", "/plan.html"), ("as JSON", "/plan.json")):
        with page.expect_download() as download:
            page.click(f"text={words} >> nth=0")
        assert download.value.suggested_filename == address.rpartition("/")[2]
        query = urlencode(JOBS["plan"].first)
        assert Path(download.value.path()).read_text() == server.get(f"{address}?{query}").text


def test_back_goes_to_the_question_before_and_forward_again(page):
    fill(page, {"gpu": "a100-80", "count": "1", "model": "qwen3-8b"})
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


def test_a_link_can_be_opened_elsewhere(page, site):
    page.goto(f"{site}?gpu=rtx4090&count=1&model=qwen3-32b")
    until(page, "does not start")
    links = page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)")
    assert len(links) > 10
    assert all(link.startswith(site) for link in links), links


def test_a_model_of_the_hub_is_for_the_command_line(page):
    fill(page, {"gpu": "h100", "count": "1", "model": "somebody/something"})
    page.keyboard.press("Enter")
    until(page, "a page without a server asks nobody")


def test_the_command_is_copied(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("button.copy")
    page.wait_for_function("() => document.querySelector('button.copy').textContent === 'Copied'")
    assert page.evaluate("() => navigator.clipboard.readText()") == page.inner_text("#command-1")


def test_a_link_is_a_question_and_what_is_missing_is_said(browser, site):  # noqa: F811
    found = Watched(browser)
    page = found.page
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{site}compare?gpu=a100-80&count=1&model=qwen3-8b&users=3")
    until(page, "A100")
    assert page.input_value("#users") == "3"
    assert found.errors == []
    page.route("**/program.zip", lambda route: route.abort())
    page.goto(f"{site}index.html")
    page.wait_for_function("() => document.body.innerText.includes('could not go on')")
    barriers = Axe().run(page, options=RULES)
    assert barriers.violations_count == 0, barriers.generate_report()
    page.close()
