"""The pictures of README and docs/page.md: `python -m benchmarks.screenshots` takes them anew of the page and of a report, in Chromium."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Browser, sync_playwright

from tests.judges import chromium

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
FAILED = "vllm serve Qwen/Qwen3-VL-32B-Instruct --max-model-len 131072"
# Of the page: a file's name, the question, width and height, light or dark.
PAGES = (
    ("page", "./?gpu=rtx4090&count=2&model=qwen3-vl-32b-awq&context=64k", (1180, 900), "light"),
    ("page-models", "models?gpu=rtx4090&count=2", (1180, 760), "dark"),
    ("page-check", f"check?{urlencode({'command': FAILED, 'gpu': 'a100-80'})}", (390, 1180), "light"),
)
COMMAND = ["--gpu", "h100", "--model", "qwen3-32b-fp8", "--context", "32k", "--users", "8", "--html", "report.html", "--dry-run"]
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def take(browser: Browser, address: str, name: str, size: tuple[int, int], scheme: str) -> None:
    """One picture."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(address, timeout=120_000)
    page.screenshot(path=PICTURES / f"{name}.png")
    page.close()


def main() -> None:
    """Take all."""
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium(), args=QUIET)
        subprocess.run([sys.executable, "-m", "planner", *COMMAND], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        take(browser, (Path(folder) / "report.html").as_uri(), "report", (960, 1180), "dark")
        with subprocess.Popen([sys.executable, "-m", "planner", "web", "--no-open", "--port", "0"], stderr=subprocess.PIPE, text=True) as server:
            found = re.search(r"http://127\.0\.0\.1:\d+/", server.stderr.readline() if server.stderr else "")
            for name, question, size, scheme in PAGES:
                take(browser, f"{found[0] if found else ''}{question}", name, size, scheme)
            server.terminate()
        browser.close()


if __name__ == "__main__":
    main()
