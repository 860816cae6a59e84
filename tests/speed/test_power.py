"""A cap on a card's power: what others measured, the laws, and what nobody measured."""

import itertools
from statistics import median

import numpy as np
import pytest

import planner
from benchmarks.speed_fit import NAMES, Columns
from benchmarks.speed_rows import measured, rows
from planner.catalogue.load import find_gpu
from planner.facts.hardware import GpuGroup
from planner.speed.constants import fitted
from planner.speed.power import no_cap


def speed_of(**asked):
    said = planner.plan(**{"model": "qwen3-8b", "gpu": "rtx3090", "context": 8192, "concurrency": 4} | asked).to_dict()
    return said["speed"], said["speed_reason"]


def test_a_lower_cap_is_never_faster_and_costs_prompts_more_than_steps():
    speeds = [speed_of(power_limit_w=watts)[0] for watts in (350, 300, 270, 250, 220)]
    assert speeds[0] == speed_of()[0]
    for more, less in itertools.pairwise(speeds):
        for name in ("tokens_per_s", "output_tokens_per_s"):
            assert less[name]["expected"] <= more[name]["expected"]
        assert less["ttft_s"]["expected"] >= more["ttft_s"]["expected"]
    first, last = speeds[0], speeds[-1]
    assert (
        last["time_to_first_token_s"]["expected"] / first["time_to_first_token_s"]["expected"]
        > first["tokens_per_s"]["expected"] / last["tokens_per_s"]["expected"]
    )


@pytest.mark.parametrize("watts", [220, 250, 270, 300])
def test_one_card_under_a_cap_decodes_as_was_measured(watts):
    """gemma-4-12B FP8 on an RTX 3090: the curve is of the ratios of these rows, the level of the fit."""
    capped = {row["id"] for row in rows() if row["power_limit_w"] == str(watts) and row["count"] == "1" and row["engine"] == "vllm" and "gemma" in row["model"]}
    figures = [figure for figure in measured() if figure.id in capped and figure.metric == "decode"]
    errors = np.expm1(Columns(figures).log_errors(np.log([fitted().constants[name] for name in NAMES])))
    assert len(figures) >= 7
    assert median(abs(errors)) < 0.1


@pytest.mark.parametrize(("gpu", "watts", "grade"), [("rtx3090", 250, "measured class"), ("rtx4090", 300, "extrapolated"), ("rtx4090", 450, "measured class")])
def test_what_it_rests_on_is_said(gpu, watts, grade):
    assert speed_of(gpu=gpu, power_limit_w=watts)[0]["grade"] == grade


@pytest.mark.parametrize(
    ("gpu", "watts", "why"),
    [("rtx3090", 80, "nobody measured so low a cap: 80 of 350 W"), ("rtx4090", 200, "nobody measured so low a cap"), ("mi300x", 400, "NVIDIA's cards only")],
)
def test_nothing_is_said_of_what_nobody_measured(gpu, watts, why):
    assert why in no_cap(GpuGroup(gpu=find_gpu(gpu), count=1, power_limit_w=watts)).reason


@pytest.mark.parametrize("watts", [0, -1, float("nan"), True, 1e9])
def test_no_cap_that_is_none(watts):
    with pytest.raises(planner.PlannerError, match="watts"):
        planner.plan(model="qwen3-8b", gpu="rtx3090", power_limit_w=watts)
