"""The pictures of the README: `python -m benchmarks.screenshots` takes them anew of the page and of a report, in Chromium."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.judges import chromium

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
ASKED = "gpu=rtx4090&count=2&model=qwen3-vl-32b-awq&context=64k"
COMMAND = ["--gpu", "h100", "--model", "qwen3-32b-fp8", "--context", "32k", "--users", "8", "--html", "report.html", "--dry-run"]
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def take(browser: Browser, address: str, name: str, scheme: str, height: int) -> None:
    """One picture, 960 wide."""
    page = browser.new_page(viewport={"width": 960, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(address)
    page.screenshot(path=PICTURES / f"{name}.png")
    page.close()


def main() -> None:
    """Take all."""
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium(), args=QUIET)
        subprocess.run([sys.executable, "-m", "planner", *COMMAND], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        take(browser, (Path(folder) / "report.html").as_uri(), "report", "dark", 1180)
        with subprocess.Popen([sys.executable, "-m", "planner", "web", "--no-open", "--port", "0"], stderr=subprocess.PIPE, text=True) as server:
            found = re.search(r"http://127\.0\.0\.1:\d+", server.stderr.readline() if server.stderr else "")
            take(browser, f"{found[0] if found else ''}/?{ASKED}", "page", "light", 980)
            server.terminate()
        browser.close()


if __name__ == "__main__":
    main()
