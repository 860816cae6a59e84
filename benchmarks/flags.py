"""vLLM's serve flags by release, from vLLM itself: `python -m benchmarks.flags` rewrites planner/engines/vllm/flags.json.

The newest release's parser says what each flag takes (tests/oracle/list_flags.py, in the judge's environment); the source
distributions of the releases before it say when a flag appeared and when it was last known; `--newest` keeps what the file has of them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from planner.engines.vllm.versions import DEFAULT_VERSION, VERSIONS

ROOT = Path(__file__).parent.parent
FILE = ROOT / "planner" / "engines" / "vllm" / "flags.json"
INDEX = "https://pypi.org/simple/vllm/"
SOURCES = re.compile(r"vllm/(engine/arg_utils|entrypoints/openai/cli_args|entrypoints/cli/serve)\.py$")


def newest() -> list[dict[str, Any]]:
    """Flags of the newest release, as its own parser describes them."""
    python = Path.home() / ".cache" / "serve-plan" / f"vllm-{DEFAULT_VERSION}" / "bin" / "python"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "planner" / "engines" / "vllm" / "judge")}
    done = subprocess.run([python, "list_flags.py"], cwd=ROOT / "tests" / "oracle", env=environment, text=True, capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def named_in_source(version: str, links: dict[str, str]) -> set[str]:
    """Flags that a release's source names."""
    link = links.get(f"vllm-{version}.0.tar.gz")
    if link is None:  # a release without a source distribution
        return set()
    with urllib.request.urlopen(urljoin(INDEX, link)) as answer, tarfile.open(fileobj=answer, mode="r|gz") as archive:
        texts = [stream.read().decode() for member in archive if SOURCES.search(member.name) and (stream := archive.extractfile(member))]
    return {flag for text in texts for flag in re.findall(r"[\"'](--[a-z][a-z0-9-]+)[\"']", text)}


def history() -> tuple[dict[str, set[str]], dict[str, str]]:
    """The flags that the source of each release names, and those that are gone, with the last release that named them."""
    with urllib.request.urlopen(INDEX) as page:
        links = {name: link for link, name in re.findall(r'href="([^"]+)"[^>]*>([^<]+)<', page.read().decode())}
    seen = {version: named_in_source(version, links) for version in VERSIONS}
    return seen, {flag: version for version, flags in seen.items() for flag in flags if flag != "--help"}


def table() -> dict[str, object]:
    """What each flag takes and since when, and which are gone."""
    seen, last = history()
    known = {}
    for entry in newest():
        names = entry.pop("flags")
        named = [version for version, flags in seen.items() if flags & set(names)]
        first = named[0] if named and named[0] != next(iter(VERSIONS)) else None
        known[names[0]] = entry | ({"also": names[1:]} if names[1:] else {}) | ({"since": first} if first else {})
    spelled = {name for flag, entry in known.items() for name in (flag, *entry.get("also", ()))}
    return contents(known, {flag: version for flag, version in last.items() if flag not in spelled})


def renewed() -> dict[str, object]:
    """The table with the newest release's parser read again, the history of the file kept (no download)."""
    old = json.loads(FILE.read_text())
    known = {}
    for entry in newest():
        names = entry.pop("flags")
        since = next((old["flags"][name]["since"] for name in names if "since" in old["flags"].get(name, {})), None)
        known[names[0]] = entry | ({"also": names[1:]} if names[1:] else {}) | ({"since": since} if since else {})
    return contents(known, old["last_known_in"])


def contents(known: dict[str, dict[str, Any]], gone: dict[str, str]) -> dict[str, object]:
    """The file."""
    return {"comment": "vLLM's serve flags, written by `python -m benchmarks.flags`", "flags": known, "last_known_in": dict(sorted(gone.items()))}


if __name__ == "__main__":
    found = renewed() if "--newest" in sys.argv else table()
    lines = ",\n".join(f" {json.dumps(flag)}: {json.dumps(entry)}" for flag, entry in found["flags"].items())  # type: ignore[attr-defined]
    rest = json.dumps({key: value for key, value in found.items() if key != "flags"}, indent=1)
    FILE.write_text(f'{{"flags": {{\n{lines}\n}},{rest[1:]}\n')
    print(FILE)
