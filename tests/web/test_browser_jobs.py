"""Every job of the page in Chromium, at the widths of a phone, a tablet and a desk: asked by its form, answered with the contract's numbers, without a barrier.

`site` is the address of a page, however it is served: another module that has these tests run on another one imports them and says its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
from test_browser import Axe, Watched, browser, server, until  # noqa: F401 - browser and server are fixtures

from planner.report.words import usd
from planner.web.answers import answer
from planner.web.jobs import JOBS
from planner.web.state import made

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.judge
WIDTHS = (390, 768, 1440)
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]}
GIB = 1 << 30
Json = dict[str, Any]
COMMAND = "vllm serve Qwen/Qwen3-VL-32B-Instruct --max-model-len 131072"
LOG = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
# What is typed into each form, and what of its JSON is to be read in the answer.
ASKED: dict[str, tuple[dict[str, str], Callable[[Json], list[str]]]] = {
    "plan": (
        {"gpu": "h100", "count": "1", "model": "qwen3-32b-fp8", "context": "32k"},
        lambda said: [f"{said['settings']['max_model_len']:,}", f"{said['memory']['max_concurrency']:.2f}x", f"{said['memory']['weights_bytes'] / GIB:.2f}"],
    ),
    "models": (
        {"gpu": "rtx3060", "count": "1", "purpose": "code"},
        lambda said: [row["model"] for row in said["models"]] + [f"{said['models'][0]['context']:,}", said["models"][0]["command"]],
    ),
    "machines": (
        {"model": "qwen3-8b", "context": "16k", "users": "4"},
        lambda said: [f"{row['count']}x {row['gpu']}" for row in said["machines"]] + [f"${said['machines'][0]['rent_usd_per_hour']:.2f}"],
    ),
    "stack": (
        {"gpu": "rtx4090", "count": "2", "model": "qwen3-vl-32b-awq", "beside": "qwen3-embedding-0.6b"},
        lambda said: [f"{said['services'][-1]['held_bytes'] / GIB:.2f}", *(" ".join(command["argv"]) for command in said["commands"])],
    ),
    "capacity": (
        {"gpu": "rtx4090", "count": "1", "model": "qwen3-8b-awq", "users": "4"},
        lambda said: [f"{said['options'][0]['replicas'] * said['options'][0]['expected']['users']:,}", "held"],
    ),
    "cost": (
        {"gpu": "h100", "count": "1", "model": "qwen3-32b-fp8", "rent_usd_per_hour": "2.5", "documents": "1000"},
        lambda said: [f"${usd(cost['usd_per_million_output_tokens']['expected'])}" for cost in said["loads"][0]["costs"]] + ["1,000 documents"],
    ),
    "compare": (
        {"gpu": "rtx4090", "count": "1", "model": "qwen3-8b"},
        lambda said: [f"{best['value']:,.0f}" for best in said["best"] if best["what"] in ("longest context", "most users")],
    ),
    "check": (
        {"command": COMMAND, "gpu": "a100-80"},
        lambda said: [said["problems"][0]["message"], said["problems"][0]["fix"], f"{said['memory']['kv_cache_bytes'] / GIB:.2f}"],
    ),
    "explain": ({"log": LOG, "gpu": "rtx4090", "model": "qwen3-8b"}, lambda said: [said["root_cause"]["code"], " ".join(said["fixed_command"])]),
}


@pytest.fixture(scope="module")
def site(server: str) -> str:  # noqa: F811
    return f"{server}/"


@pytest.fixture(scope="module", params=WIDTHS)
def opened(request, browser: Browser) -> Iterator[Watched]:  # noqa: F811
    """A window of each width; nothing is asked of anybody else, and nothing goes wrong in it."""
    found = Watched(browser, viewport={"width": request.param, "height": 900})
    yield found
    found.page.close()
    assert found.errors == []


def fill(page: Page, asked: dict[str, str]) -> None:
    """Type into a form; what is folded away is opened first."""
    for name, value in asked.items():
        field = page.locator(f"#{name}")
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)


def answered(page: Page) -> str:
    """The answer to a form that was sent by its button: it has the focus."""
    page.click("form button[type=submit]")
    page.wait_for_function("() => document.activeElement?.closest('#shown') && !document.querySelector('[aria-busy]')")
    return " ".join(page.inner_text("#shown").split())


def is_in_bounds(page: Page) -> bool:
    """Whether nothing has to be moved to the side."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth")


@pytest.mark.parametrize("job", list(ASKED))
def test_each_job_from_the_navigation_to_its_numbers(opened, site, job):
    page, (asked, numbers) = opened.page, ASKED[job]
    page.goto(site)
    page.evaluate("() => { document.querySelector('h1').dataset.isOld = '' }")  # the job that is open already leads to the same address
    page.click(f"nav a:text-is('{JOBS[job].title}')")
    page.wait_for_function("() => document.querySelector('h1') && !('isOld' in document.querySelector('h1').dataset)")
    page.wait_for_function("path => [path, `${path}/`].some((end) => location.pathname.endsWith(end))", arg="" if job == "plan" else f"/{job}")
    fill(page, asked)
    text = answered(page)
    for number in numbers(dict(answer(made(JOBS[job], asked)).json())):
        assert " ".join(number.split()) in text, number
    assert set(asked.items()) - {("purpose", "chat")} <= set(parse_qsl(urlsplit(page.url).query))
    assert is_in_bounds(page)
    found = Axe().run(page, options=RULES)
    assert found.violations_count == 0, found.generate_report()
    assert page.title().endswith("plan")
    assert page.inner_text("#said")
    assert all(url.startswith(("data:", site)) for url in opened.requests)
    address = page.url
    page.goto(urljoin(site, JOBS["explain"].path))
    page.go_back()
    page.wait_for_function("() => document.querySelector('#shown .figures, #shown .problems, #shown .command')")
    assert page.url == address


def test_a_row_leads_to_its_plan_and_back(opened, site):
    page = opened.page
    page.goto(urljoin(site, "machines?model=qwen3-8b&context=16k&users=4"))
    row = page.inner_text(".rows a.lead >> nth=0")
    page.click(".rows a.lead >> nth=0")
    until(page, "starts")
    assert page.input_value("#gpu") == row.partition("x ")[2]
    assert page.input_value("#users") == "4"
    page.go_back()
    page.wait_for_selector(".rows a.lead")
    page.go_forward()
    until(page, "starts")


def test_a_failed_check_is_mended_by_its_link(opened, site):
    page = opened.page
    page.goto(urljoin(site, "check"))
    fill(page, {"command": COMMAND, "gpu": "a100-80"})
    assert "does not start" in answered(page)
    page.click(".problems li a >> nth=0")
    until(page, "tokens of context")
    assert "--max-model-len 131072" not in page.input_value("#command")
    assert page.locator(".verdict.good").count() == 1


def test_an_explained_log_leads_to_a_command_that_starts(opened, site):
    page = opened.page
    page.goto(urljoin(site, "explain"))
    fill(page, ASKED["explain"][0])
    answered(page)
    page.click("text=Check it")
    until(page, "tokens of context")


def test_a_fault_keeps_the_answer_and_offers_the_nearest(opened, site):
    page = opened.page
    page.goto(urljoin(site, "models?gpu=rtx3060&purpose=code"))
    page.wait_for_selector(".rows")
    page.fill("#gpu", "rtx306")
    page.keyboard.press("Enter")
    page.wait_for_selector("#fault a")
    assert page.locator("#shown .rows").count()
    assert "not in the catalogue" in page.inner_text("#said")
    page.click("#fault a:text-is('rtx3060')")
    page.wait_for_function("() => !document.querySelector('#fault').innerText && document.querySelector('.rows')")


def test_nothing_but_the_keyboard(opened, site):
    page = opened.page
    page.goto(site)
    page.keyboard.press("Tab")
    assert page.inner_text(":focus") == "Skip to the answer"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "shown"
    page.goto(urljoin(site, "check"))
    page.focus("#command")
    page.keyboard.type("vllm serve Qwen/Qwen3-8B --max-model-len 8192")
    page.keyboard.press("Tab")
    page.keyboard.type("rtx4090")
    for _ in range(12):
        if page.evaluate("document.activeElement.type") == "submit":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement?.matches('#shown h2')")
    assert "starts" in page.inner_text(":focus")
    seen = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.className || document.activeElement.tagName"))
    assert {"copy", "PRE", "A"} <= seen


def test_what_is_sent_is_not_asked_again_by_the_letters_before_it(opened, site):
    page = opened.page
    page.goto(urljoin(site, "check?gpu=rtx4090"))
    opened.requests.clear()
    page.fill("#command", "vllm serve Qwen/Qwen3-8B --max-model-len 8192")
    page.click("form button[type=submit]")
    page.wait_for_function("() => document.activeElement?.matches('#shown h2')")
    page.wait_for_timeout(400)
    assert sum("answer/check" in url for url in opened.requests) <= 1
    assert page.evaluate("document.activeElement.tagName") == "H2"


def test_what_is_sent_while_the_answer_before_it_settles_is_read_next(opened, site):
    page = opened.page
    page.goto(urljoin(site, "check?gpu=rtx4090"))
    page.evaluate("""() => document.addEventListener('htmx:afterSwap', () => {
        document.getElementById('command').value += ' --max-num-seqs 7';
        document.querySelector('form').requestSubmit();
    }, { once: true })""")
    page.fill("#command", "vllm serve Qwen/Qwen3-8B --max-model-len 8192")
    page.wait_for_function("() => document.activeElement?.matches('#shown h2')")
    page.wait_for_timeout(400)
    assert page.evaluate("document.activeElement.tagName") == "H2"


def test_a_card_that_is_described(opened, site):
    page = opened.page
    page.goto(site)
    page.click("summary:text('Another card')")
    fill(page, {"gpu": "custom", "count": "1", "model": "qwen3-8b-awq", "vram": "16GiB", "bandwidth": "672", "compute_capability": "8.9"})
    assert "custom (16 GiB, 672 GB/s)" in answered(page)
    page.reload()
    assert page.input_value("#vram") == "16GiB"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["./?gpu=rtx4090&model=qwen3-32b", "models?gpu=nothing", "check", "explain"])
def test_no_barriers_where_nothing_is_answered(browser, site, scheme, path):  # noqa: F811
    page = browser.new_page(color_scheme=scheme, viewport={"width": 768, "height": 900})
    page.goto(urljoin(site, path))
    found = Axe().run(page, options=RULES)
    assert found.violations_count == 0, found.generate_report()
    page.emulate_media(media="print")
    assert not page.locator("form").is_visible()
    page.close()


def test_without_scripts_a_pasted_text_is_answered_too(browser, server):  # noqa: F811
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{server}/check")
    page.fill("#command", COMMAND)
    page.fill("#gpu", "a100-80")
    page.click("button[type=submit]")
    assert "kv-cache-too-small" in page.inner_text("#answer")
    assert "command=" in page.url
    context.close()
