"""Starts and failures that people reported, as `plan check` judges them: `python -m benchmarks.field` prints every one.

tests/data/field_vllm.yaml holds them with their sources, tests/data/field_models the folders that `models/NAME` of a command means.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from benchmarks.consumer import Reported
from planner.engines.vllm.check import Checked
from planner.errors import UnsupportedModelError
from planner.facts.plan import Plan
from planner.questions.check import check, find_server, group_for

DATA = Path(__file__).parent.parent / "tests" / "data"


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
    return check(server, group_for(server, case["gpu"], case["count"], case["host"], case.get("free_gib")))


def reported() -> Iterator[Reported]:
    """Every case that has a ledger."""
    with models():
        for case in yaml.safe_load((DATA / "field_vllm.yaml").read_text()):
            try:
                checked = judged(case).own
            except UnsupportedModelError:
                continue
            if isinstance(checked, Checked):
                observed = case.get("observed", {}) if case.get("flags_told", True) else {}  # else the cache tells of settings that nobody knows
                yield Reported(case["id"], case["observed_verdict"] == "starts", case.get("observed_reason", ""), checked, observed.get("kv_gib"))


if __name__ == "__main__":
    for row in reported():
        print(row.name, row.started, row.checked.verdict, [problem.message for problem in row.checked.problems], row.interval_gib, row.kv_cache_gib)
