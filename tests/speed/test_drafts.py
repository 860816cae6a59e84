"""Speculative decoding: a step verifies what was drafted, and gives as many tokens as are said to be accepted on average."""

import csv
import json
from collections import defaultdict
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
from conftest import DATA, ROOT
from hypothesis import given
from hypothesis import strategies as st

import planner
from planner.catalogue.load import find_model
from planner.engines.vllm.pace import DRAFTED_STEP_S, vllm_work
from planner.errors import PlannerError
from planner.facts.speed import SpeedEstimate
from planner.facts.verdict import Grade
from planner.speed.constants import rates
from planner.speed.roofline import load, served, step
from planner.speed.work import Drafts


@pytest.fixture(scope="module")
def work():
    """Qwen3.6-27B in FP8 on an H100 with the layer that it brings, three tokens at a time."""
    answer = planner.plan(gpu="h100", model="qwen3.6-27b-fp8", context="32k", speculative_config="mtp:3", acceptance_length=2.5)
    return vllm_work(answer.main.own)


def test_a_step_by_hand(work):
    """One sequence: weights once for all four tokens, three more readings of the drafter's layer and of the head, four tokens of arithmetic, 2.5 of them kept."""
    plain, rate = replace(work, drafts=None), rates(work)
    drafter = work.drafts.work
    seen, alone = step(work, rate, 1.0, 1e9), step(plain, rate, 1.0, 1e9)
    bytes_per_s = work.peak.bandwidth_bytes_per_s * rate.bandwidth_share
    head = 248_320 * 5120 * 2  # vocabulary x hidden size, in 16 bits
    assert drafter.weights.head_bytes == head
    assert seen.weights == pytest.approx((alone.weights + 3 * (drafter.weights.dense_bytes + head) / bytes_per_s) / 2.5)
    one = 2 * (drafter.weights.dense_macs + drafter.weights.head_macs) / (work.peak.flops * rate.decode_share)
    assert seen.arithmetic == pytest.approx((4 * alone.arithmetic + 3 * one) / 2.5)
    assert seen.launches == pytest.approx((alone.launches + 3 * step(drafter, rate, 1.0, 0.0).launches + DRAFTED_STEP_S[1]) / 2.5)
    assert seen.caches == pytest.approx(alone.caches / 2.5)


@given(users=st.floats(2, 64), length=st.floats(1, 4), more=st.floats(1.01, 2))
def test_who_comes_waits_for_whole_steps(work, users, length, more):
    """However many tokens a step gives: the more, the more of the time prompts take, so that the first token never comes sooner."""
    rate, asked = rates(work), load(work, users, 2000.0, 500.0)
    first = [served(replace(work, drafts=replace(work.drafts, length=each)), rate, asked).time_to_first_token_s for each in (length, length * more)]
    assert first[0] <= first[1] * (1 + 1e-9)


def test_what_a_step_takes_beside_its_kernels_is_that_of_the_published_pairs():
    """Of each rig the median; then over rigs. A pass of the drafter reads its layer and the head at four fifths of the bandwidth."""
    rigs = defaultdict(list)
    with (DATA / "speculative_pairs.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            step_s = float(row["acceptance_length"]) / float(row["tokens_per_s_with"]) - 1 / float(row["tokens_per_s_without"])
            passes_s = int(row["num_speculative_tokens"]) * float(row["pass_gb"]) / (0.8 * float(row["bandwidth_gb_per_s"]))
            workload = row["workload"] if row["model"] == "Qwen3.8-27B-INT4" else ""
            rigs[row["gpu"], row["model"], row["method"], workload].append(step_s - passes_s)
    low, middle, high = np.quantile([median(each) for each in rigs.values()], [0.1, 0.5, 0.9])
    assert pytest.approx((high, middle, low), rel=0.05, abs=2e-4) == DRAFTED_STEP_S


@given(users=st.floats(1, 64), tokens=st.integers(1, 8), length=st.floats(1, 4), more=st.floats(1.01, 2))
def test_more_that_is_accepted_is_faster_and_nothing_is_slower_than_no_draft(work, users, tokens, length, more):
    rate, plain = rates(work), replace(work, drafts=None)

    def seconds(drafts):
        return step(replace(plain, drafts=drafts), rate, users, 1e8).total_s

    drafts = Drafts(tokens=tokens, length=length, work=work.drafts.work)
    assert seconds(replace(drafts, length=length * more)) < seconds(drafts)
    looked_up = Drafts(tokens=tokens, length=1.0)
    assert seconds(looked_up) >= step(plain, rate, users, 1e8).total_s
    assert seconds(replace(looked_up, work=work.drafts.work)) > seconds(looked_up)


def test_published_means_are_of_models_that_are_known_and_of_tokens_that_a_step_gives():
    rows = json.loads((ROOT / "planner" / "engines" / "vllm" / "acceptance.json").read_text())
    for row in rows:
        assert find_model(row["model"]).row.name == row["model"], row
        assert all(1 <= length <= row["tokens"] + 1 for length in row["lengths"]), row
        assert all(source.startswith("https://") for source in row["sources"]), row
    assert len({(row["model"], row["method"], row["tokens"]) for row in rows}) == len(rows) > 100


@pytest.mark.parametrize(
    ("drafts", "told"), [("mtp:3", "published of qwen3.6-27b: 2.8 to 4, by what is asked"), ("mtp:5", "which --acceptance-length of a plan says")]
)
def test_what_others_saw_is_told_where_nobody_says_how_many_are_accepted(drafts, told):
    answer = planner.plan(gpu="h100", model="qwen3.6-27b-fp8", context="32k", speculative_config=drafts).main
    assert next(warning.message for warning in answer.warnings if warning.code == "drafting").endswith(told)


def test_the_answer_says_what_it_rests_on():
    asked = {"gpu": "h100", "model": "qwen3.6-27b-fp8", "context": "32k", "speculative_config": "mtp:3"}
    without, with_length = planner.plan(**asked).main, planner.plan(**asked, acceptance_length=2.5).main
    assert [warning.code for warning in without.warnings if warning.code == "drafting"]
    assert not [warning.code for warning in with_length.warnings if warning.code == "drafting"]
    speed = with_length.speed
    assert isinstance(speed, SpeedEstimate)
    assert (speed.grade, "give 2.5, as asked" in speed.because) == (Grade.EXTRAPOLATED, True)
    assert without.speed.tokens_per_s.expected < speed.tokens_per_s.expected
    assert with_length.settings == without.settings  # what is accepted changes no byte


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"acceptance_length": 2.0}, "nothing drafts"),
        ({"acceptance_length": 4.5, "speculative_config": "mtp:3"}, "from 1 to 4 tokens"),
        ({"acceptance_length": 0.5, "speculative_config": "mtp:3"}, "from 1 to 4 tokens"),
        ({"acceptance_length": float("nan"), "speculative_config": "mtp:3"}, "acceptance_length"),
        ({"acceptance_length": 2.0, "engine": "llama.cpp"}, "is vLLM's"),
    ],
)
def test_what_cannot_be_accepted_is_refused(asked, says):
    with pytest.raises(PlannerError, match=says):
        planner.plan(gpu="h100", model="qwen3.6-27b-fp8", **asked)
