"""vLLM's tool parsers, reasoning parsers and tokenizer modes by release: `python -m benchmarks.parsers` rewrites planner/engines/vllm/parsers.json.

The newest release's own registries say what there is (tests/oracle/list_parsers.py, in the judge's environment); the source
distributions of the releases before it say since when, and what is gone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urljoin

from planner.engines.vllm.versions import DEFAULT_VERSION, VERSIONS

ROOT = Path(__file__).parent.parent
FILE = ROOT / "planner" / "engines" / "vllm" / "parsers.json"
INDEX = "https://pypi.org/simple/vllm/"
SOURCES = {
    "tool_parsers": re.compile(r"vllm/(entrypoints/openai/)?tool_parsers/[^/]+\.py$"),
    "reasoning_parsers": re.compile(r"vllm/reasoning/[^/]+\.py$"),
    "tokenizer_modes": re.compile(r"vllm/(tokenizers/registry|config/model)\.py$"),
}
# A lazy registry's entry, and the decorator (one name or a list of them) that was there before it.
NAMES = re.compile(r'^ {4}"([^"]+)": \(|register_module\(\s*(?:name=)?("[^"]+"|\[[^\]]*\])|^TokenizerMode = Literal\[([^\]]*)\]', re.MULTILINE)
Names = dict[str, set[str]]


def newest() -> Names:
    """The names in the newest release's registries, as they say themselves."""
    python = Path.home() / ".cache" / "serve-plan" / f"vllm-{DEFAULT_VERSION}" / "bin" / "python"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "planner" / "engines" / "vllm" / "judge")}
    done = subprocess.run([python, "list_parsers.py"], cwd=ROOT / "tests" / "oracle", env=environment, text=True, capture_output=True, check=True)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("{"))
    return {registry: set(names) for registry, names in json.loads(line).items()}


def newest_patch(version: str, links: Mapping[str, str]) -> str | None:
    """The source distribution of a minor release's newest patch: 0.11.2 knows parsers that 0.11.0 did not. None where there is none."""
    return max((name for name in links if re.fullmatch(rf"vllm-{re.escape(version)}\.\d+\.tar\.gz", name)), default=None)


def named_in_source(version: str, links: dict[str, str]) -> Names:
    """The names that a release's source registers; none for a release without a source distribution."""
    found: Names = {registry: set() for registry in SOURCES}
    link = newest_patch(version, links)
    if link is None:
        return found
    with urllib.request.urlopen(urljoin(INDEX, links[link])) as answer, tarfile.open(fileobj=answer, mode="r|gz") as archive:
        for member in archive:
            for registry, path in SOURCES.items():
                if path.search(member.name) and (stream := archive.extractfile(member)):
                    matches = NAMES.findall(stream.read().decode())
                    found[registry] |= {name for one, many, modes in matches for name in ([one] if one else re.findall(r'"([^"]+)"', many + modes))}
    return found


def table() -> dict[str, object]:
    """Every name with the first release that has it, and the last where it is gone."""
    with urllib.request.urlopen(INDEX) as page:
        links = {name: link for link, name in re.findall(r'href="([^"]+)"[^>]*>([^<]+)<', page.read().decode())}
    seen = {version: names for version in VERSIONS if any((names := named_in_source(version, links)).values())}
    seen[DEFAULT_VERSION] = newest()
    registries = {}
    for registry in SOURCES:
        names = sorted({name for found in seen.values() for name in found[registry]} - {"auto", "custom"})
        registries[registry] = {name: _life([version for version, found in seen.items() if name in found[registry]], list(seen)) for name in names}
    return {"comment": "names in vLLM's registries, written by `python -m benchmarks.parsers`", "registries": registries}


def _life(held: list[str], order: list[str]) -> dict[str, str]:
    """Since when, where not since the oldest release; until when, where not until the newest."""
    return ({"since": held[0]} if held[0] != order[0] else {}) | ({"last": held[-1]} if held[-1] != order[-1] else {})


if __name__ == "__main__":
    FILE.write_text(json.dumps(table(), indent=0) + "\n")
    print(FILE)
