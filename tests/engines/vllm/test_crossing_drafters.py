"""Drafters beside their targets, crossed with divisions and quantizations: what a rank holds, and what is refused, as vLLM's own loader says it.

Fixture: vllm_0.33_crossed_drafters.jsonl, cases of `python -m benchmarks.crossing_drafters` of each kind that was once answered otherwise.
"""

import os

import pytest
from conftest import json_lines

from benchmarks.crossing import plain_configs
from benchmarks.crossing_drafters import cases, compared, difference, question, thawed
from benchmarks.drafter_configs import NOT_COMPARED
from benchmarks.judge_rows import ask
from planner.architecture.families import NAMES, UNJUDGED
from tests.judges import judge_venv

ROWS = json_lines("vllm_0.33_crossed_drafters.jsonl")
CASES, TOLERATED = 40, 1
SEED = int(os.environ.get("PLAN_CROSSING_SEED", "14"))  # any other number is a sample that nobody has seen


@pytest.fixture(scope="module")
def configs():
    return plain_configs()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['drafter']} {row['draft_format']} {row['model']} {row['format']} {row['way']}")
def test_target_and_drafter_are_what_vllms_loader_builds(row, configs):
    assert difference(thawed(row, configs), row["theirs"]) == ""


def test_every_known_drafter_is_compared_or_said_not_to_be():
    compared_with = {row["drafter"] for row in ROWS if row["theirs"]["valid"]}
    assert compared_with | set(NOT_COMPARED) >= set(NAMES["drafters"].split())
    assert not UNJUDGED & compared_with


@pytest.mark.judge
def test_a_sample_of_drafters_is_answered_as_vllm_does():
    judge_venv("vllm")
    sample = list(cases(CASES, SEED))
    different = compared(sample, ask([question(case) for case in sample]))
    assert len(different) <= TOLERATED, different
