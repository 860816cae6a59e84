"""What a release of vLLM changes for us: `python -m benchmarks.release 0.34` writes a report that a person can act on.

The release's own code answers: its parser, its defaults, its registry of model classes, its model classes and KV planner. It runs in the judge's
environment of the newest release that is known here (`python -m tests.judges`) with the release's source distribution before it; `--install` sets up
an environment of the release itself, where its code needs what the newest's lacks. Compared are what planner/ holds of that release and the rows that
are frozen in tests/data, one a model; `--all` asks for every one, which takes an hour.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from benchmarks import release_rows
from benchmarks.parsers import newest_patch
from planner.architecture.families import FAMILIES
from planner.catalogue.load import find_gpu
from planner.engines.vllm.flags import spellings
from planner.engines.vllm.rules import capture_sizes, default_batches
from planner.engines.vllm.settings import defaults
from planner.engines.vllm.versions import DEFAULT_VERSION, VERSIONS

ROOT = Path(__file__).parent.parent
CACHE = Path.home() / ".cache" / "serve-plan"
JUDGE = ROOT / "planner" / "engines" / "vllm" / "judge"
ORACLE = ROOT / "tests" / "oracle"
INDEX = "https://pypi.org/simple/vllm/"
GPUS = ("rtx4090", "l40s", "a100-80gb", "h100", "h200", "b200", "gb10")
Row = dict[str, Any]


@dataclass(frozen=True)
class Release:
    """A release of vLLM that can be asked."""

    name: str
    python: Path
    sources: Path | None
    every_row: bool = False

    def run(self, script: Path, arguments: Sequence[str] = (), questions: Sequence[Row] = ()) -> list[Row]:
        """The JSON lines that a script of the judge's prints. Raises RuntimeError with its last words where it fails."""
        paths = [str(path) for path in (self.sources, JUDGE) if path]
        done = subprocess.run(
            [self.python, script.name, *arguments],
            cwd=script.parent,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            input="".join(json.dumps(question) + "\n" for question in questions),
            text=True,
            capture_output=True,
            check=False,
        )
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if not answers or (questions and len(answers) != len(questions)):
            raise RuntimeError(done.stderr.strip()[-600:])
        return answers

    def ask(self, gpu: str, questions: Sequence[Row], count: int = 8) -> list[Row]:
        """The judge's answers on a simulated GPU."""
        spec = find_gpu(gpu)
        major, minor = spec.compute_capability or (0, 0)
        return self.run(JUDGE / "judge.py", (spec.name, f"{major}.{minor}", str(spec.cuda_total_bytes), str(count)), questions)

    @cached_property
    def architectures(self) -> set[str]:
        """Names of its model classes."""
        return set(self.ask("h100", [{"architectures": True}])[0]["architectures"])


def sources(name: str) -> Path:
    """The Python files of a minor release, from the source distribution of its newest patch."""
    folder = CACHE / "vllm-sources" / name
    if not folder.exists():
        with urllib.request.urlopen(INDEX) as page:
            links = {file: link for link, file in re.findall(r'href="([^"]+)"[^>]*>([^<]+)<', page.read().decode())}
        newest = newest_patch(name, links)
        if newest is None:
            sys.exit(f"{INDEX} has no source distribution of vLLM {name}")
        kept = folder.with_name(f".{name}")
        with urllib.request.urlopen(urljoin(INDEX, links[newest])) as answer, tarfile.open(fileobj=answer, mode="r|gz") as archive:
            for member in archive:
                _, _, inside = member.name.partition("/")
                if inside.startswith("vllm/") and member.isfile() and inside.endswith((".py", ".json")):
                    member.name = inside
                    archive.extract(member, kept, filter="data")
        kept.rename(folder)
    return folder


def release(name: str, *, install: bool, every_row: bool = False) -> Release:
    """A release, ready to be asked."""
    newest = CACHE / f"vllm-{DEFAULT_VERSION}"
    if install:
        own = CACHE / f"vllm-{name}"
        subprocess.run(["bash", ORACLE / "setup-vllm.sh", own, f"{name}.0"], check=True)
        return Release(name, own / "bin" / "python", None, every_row)
    if not (newest / "ready").exists():
        sys.exit("the judge is not here: `python -m tests.judges` sets it up")
    return Release(name, newest / "bin" / "python", None if name == DEFAULT_VERSION else sources(name), every_row)


def flags(asked: Release) -> Iterator[str]:
    """Flags and choices that its parser has and planner/engines/vllm/flags.json does not, and the other way round."""
    version = asked.name if asked.name in VERSIONS else DEFAULT_VERSION
    theirs = {flag: entry for entry in asked.run(ORACLE / "list_flags.py") for flag in entry["flags"]}
    ours = spellings(version)
    yield f"- {len(theirs)} spellings; {len(ours)} are known here for {version}"
    for flag in sorted(theirs.keys() - ours.keys()):
        yield f"- `{flag}` is not known here: `python -m benchmarks.flags`, then say in harmless_flags.json or the ledger what it does to memory"
    for flag in sorted(ours.keys() - theirs.keys()):
        yield f"- `{flag}` is known here and its parser refuses it: `since` or `last_known_in` of flags.json"
    for flag in sorted(theirs.keys() & ours.keys()):
        mine, its = ours[flag].get("choices"), theirs[flag].get("choices")
        if mine and its and set(mine) != set(its):
            yield f"- `{flag}`: new choices {sorted(set(its) - set(mine))}, gone {sorted(set(mine) - set(its))}"


def settings(asked: Release) -> Iterator[str]:
    """Defaults by GPU, its and ours."""
    config = json.loads((ROOT / "tests" / "data" / "configs" / "Qwen--Qwen3-8B.json").read_text())
    version = asked.name if asked.name in VERSIONS else DEFAULT_VERSION
    question = {"config": config, "argv": ["vllm", "serve", "x", "--max-model-len", "4096"], "defaults": True}
    for name in GPUS:
        gpu, (answer,) = find_gpu(name), asked.ask(name, [question], count=1)
        if not answer["valid"]:
            yield f"- {name}: {answer['error']}"
            continue
        batch, seqs = default_batches(gpu, gpu.cuda_total_bytes, VERSIONS[version])
        ours = {
            "gpu_memory_utilization": defaults(version).gpu_memory_utilization,
            "max_num_seqs": seqs,
            "max_num_batched_tokens": batch,
            "captured_sizes": len(capture_sizes(seqs, gpu.capability, VERSIONS[version])),
        }
        apart = [f"{key} {answer[key]} (here {value})" for key, value in ours.items() if answer[key] != value]
        yield f"- {name}: {', '.join(apart) or 'as here'}"


def registry(asked: Release) -> Iterator[str]:
    """Model classes that it has and the newest known release has not, and those that nobody here builds."""
    newest = release(DEFAULT_VERSION, install=False).architectures
    new, gone = sorted(asked.architectures - newest), sorted(newest - asked.architectures)
    unknown = sorted(asked.architectures - set(FAMILIES))
    yield f"- {len(asked.architectures)} names, {len(asked.architectures) - len(unknown)} of them known here"
    yield f"- not in {DEFAULT_VERSION}: {', '.join(new) or 'none'}"
    yield f"- of {DEFAULT_VERSION} and not here: {', '.join(gone) or 'none'}"
    yield f"- unknown: {', '.join(unknown) or 'none'}"


PARTS = {
    "Flags": flags,
    "Defaults": settings,
    "Model classes": registry,
    "Commands": release_rows.commands,
    "Official recipes": release_rows.recipes,
    "Frozen rows": release_rows.rows,
}


def report(asked: Release, parts: Sequence[str]) -> Iterator[str]:
    """The report's lines; a part that the release's code cannot answer says why."""
    yield f"# vLLM {asked.name} beside what is known here\n\nWritten by `python -m benchmarks.release {asked.name}`."
    for title in parts:
        yield f"\n## {title}\n"
        try:
            yield from PARTS[title](asked)
        except RuntimeError as error:
            yield f"- cannot be asked: `{error}`"


def main(words: Sequence[str]) -> None:
    """Write the report of each release; with `--flags` of its flags and defaults only."""
    names = [word for word in words if not word.startswith("-")]
    if not names:
        sys.exit(str(__doc__))
    parts = ("Flags", "Defaults") if "--flags" in words else tuple(PARTS)
    for name in names:
        page = Path(f"release-{name}.md")
        with page.open("w") as stream:
            for line in report(release(name, install="--install" in words, every_row="--all" in words), parts):
                print(line, file=stream, flush=True)
        print(page)


if __name__ == "__main__":
    main(sys.argv[1:])
