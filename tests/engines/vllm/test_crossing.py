"""Quantizations crossed with classes and divisions: what a rank holds, and what is refused, as vLLM's own class says it.

Fixture: vllm_0.33_crossed.jsonl, cases of `python -m benchmarks.crossing` of each kind that was once answered otherwise; one that is never drawn brings its
whole config as its section.
"""

import json
import os

import pytest
from conftest import json_lines

from benchmarks import crossing_flags, crossing_lora, crossing_shapes
from benchmarks.crossing import cases, compared, difference, plain_configs, question
from benchmarks.judge_rows import ask
from tests.judges import judge_venv

ROWS = json_lines("vllm_0.33_crossed.jsonl")
CASES, TOLERATED = 60, 1
SHAPES = 40
SEED = int(os.environ.get("PLAN_CROSSING_SEED", "14"))  # any other number is a sample that nobody has seen


@pytest.fixture(scope="module")
def configs():
    return plain_configs()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']} {row['format']} {row['way']}")
def test_a_rank_holds_what_vllms_class_builds(row, configs):
    case = row | {"config": configs.get(row["model"], {}) | json.loads(json.dumps(row["section"]))}
    assert difference(case, row["theirs"]) == ""


@pytest.mark.judge
def test_a_sample_of_crossings_is_answered_as_vllm_does():
    judge_venv("vllm")
    sample = list(cases(CASES, SEED))
    different = compared(sample, ask([question(case) for case in sample]))
    assert len(different) <= TOLERATED, different


@pytest.mark.judge
def test_a_sample_of_other_shapes_is_answered_as_vllm_does():
    judge_venv("vllm")
    sample = list(crossing_shapes.cases(SHAPES, SEED))
    different = compared(sample, ask([question(case) for case in sample]))
    assert len(different) <= SHAPES // 20, different


@pytest.mark.judge
def test_a_sample_of_flags_is_answered_as_vllm_does():
    judge_venv("vllm")
    sample = list(crossing_flags.cases(3 * len(crossing_flags.KINDS), SEED))
    different = compared(sample, ask([question(case) for case in sample]))
    assert len(different) <= TOLERATED, different


@pytest.mark.judge
def test_a_sample_of_adapters_is_answered_as_vllm_does():
    judge_venv("vllm")
    sample = list(crossing_lora.cases(20, SEED))
    pairs = zip(sample, crossing_lora.ask(sample), strict=True)
    assert not [case for case, theirs in pairs if crossing_lora.difference(crossing_lora.ours(case), theirs)]
