"""Starts and failures that people reported, as `plan check` judges them: `python -m benchmarks.field` prints every one.

tests/data/field_vllm.yaml holds them with their sources, tests/data/field_models the folders that `models/NAME` of a command means,
tests/data/shared_starts what `plan explain --share` wrote, a file each in the same columns.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from benchmarks.consumer import Reported
from planner.catalogue.load import Catalogue
from planner.catalogue.names import gpu_key, model_key
from planner.engines.vllm.check import Checked
from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.settings import COMMAND
from planner.engines.vllm.shareable import shareable_words
from planner.errors import FileError, UnsupportedModelError
from planner.facts.plan import Plan
from planner.facts.question import StackRow
from planner.facts.settings import by_flag
from planner.questions.check import check, find_server, machine_for
from planner.questions.share import REASONS, SOURCE
from planner.reader import parse_json, read_text
from planner.report.shared import StartJson

DATA = Path(__file__).parent.parent / "tests" / "data"
REPORTS, SHARED = DATA / "field_vllm.yaml", DATA / "shared_starts"
OFF = {word for setting in COMMAND for word in setting.off}
MOST_BYTES = 1 << 16  # of a shared start


def shared(folder: Path) -> Iterator[dict[str, Any]]:
    """The starts of a folder, each as its file's schema says. Raises FileError for a file that is none."""
    row = TypeAdapter(StartJson)
    for path in sorted(folder.glob("*.json")):
        try:
            case = dict(row.validate_python(parse_json(read_text(path, MOST_BYTES), path)))
        except ValidationError as error:
            raise FileError(path, f"is no shared start ({error.errors()[0]['msg']}: {'.'.join(map(str, error.errors()[0]['loc']))})") from None
        if not is_as_written(case):
            raise FileError(path, "holds a text that `plan explain --share` does not write", "send what it wrote, unchanged")
        yield case


def is_as_written(case: dict[str, Any]) -> bool:
    """Whether every text of a shared start is of the lists from which `plan explain --share` takes them: its command said again is the same."""
    server = find_server(case["command"])
    values, model, _ = parse_flags(server.words, case["vllm_version"])
    flags = by_flag(COMMAND)
    said = {
        (flags[flag].name if flag in flags else flag.lstrip("-").replace("-", "_")): value is not (flag in OFF) if value in (True, False) else value
        for flag, value in values.items()
    }
    words, _ = shareable_words(said)
    entry = Catalogue().entry(model_key(model[0])) if model else None
    return (
        entry is not None
        and Catalogue().gpu_row(gpu_key(case["gpu"])) is not None
        and sorted(shlex.split(case["command"])) == sorted(["vllm", "serve", entry.variant.repo, *words])
        and re.fullmatch(rf"{re.escape(case['gpu'])}-{re.escape(entry.name)}-[0-9a-f]{{8}}", case["id"]) is not None
        and case["source"] == SOURCE
        and case["observed_reason"] in (None, *REASONS)
    )


@contextmanager
def models() -> Iterator[None]:
    """A working folder where `models/NAME` is the folder of that name."""
    before = Path.cwd()
    with TemporaryDirectory() as folder:
        (Path(folder) / "models").symlink_to(DATA / "field_models")
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def judged(case: dict[str, Any]) -> Plan:
    """The answer about a case's command."""
    server = replace(find_server(case["command"]), version=case["vllm_version"])
    said = {name: case.get(name) for name in ("gpu", "count", "host", "free_gib", "total_gib")}
    return check(server, machine_for(server, StackRow(**said, services=[])))


def reported(only: Collection[str] | None = None) -> Iterator[Reported]:
    """Every case that has a ledger, or those of some names."""
    with models():
        for case in [*yaml.safe_load(REPORTS.read_text()), *shared(SHARED)]:
            if only is not None and case["id"] not in only:
                continue
            try:
                checked = judged(case).own
            except UnsupportedModelError:
                continue
            if isinstance(checked, Checked):
                told = case.get("flags_told", True) and not case.get("picked")  # else of settings that nobody knows, or taken since it is right: no sample
                observed = case.get("observed", {}) if told else {}
                started, why = case["observed_verdict"] == "starts", case.get("observed_reason") or ""
                words = tuple(find_server(case["command"]).words)
                yield Reported(case["id"], started, why, checked, observed.get("kv_gib"), words=words, weights_gib=observed.get("weights_gib"))


if __name__ == "__main__":
    for row in reported():
        print(row.name, row.started, row.checked.verdict, [problem.message for problem in row.checked.problems], row.interval_gib, row.kv_cache_gib)
