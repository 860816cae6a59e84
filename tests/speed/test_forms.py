"""Fit, choice and judgement on three sets of models; which classes speak for themselves."""

import csv
import json
from collections import defaultdict
from statistics import median
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import speed_fit, speed_forms
from benchmarks.least_squares import TIGHT, least_squares
from benchmarks.speed_fit import NAMES, bound, fit, speaks_for_itself
from benchmarks.speed_forms import GROUPS, SETS, dropped, judged, set_of, without
from benchmarks.speed_priors import MATMUL, PRIORS
from benchmarks.speed_rows import measured
from planner.catalogue import load
from planner.speed.constants import fitted, rate_names
from planner.speed.work import gpu_kind


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_taken_away_falls_back_to_a_common_constant(group):
    """Every rate of every measured server is made of constants that are left, and of as many factors or fewer."""
    left = without([group])
    assert left != NAMES
    for work in {figure.work for figure in measured()[::7]}:
        names = rate_names(work, left)
        used = {name for field in names.__slots__ for name in getattr(names, field)}
        assert used <= set(left), (work.engine, work.peak.gpu)


def test_groups_share_no_constant():
    taken = [name for group in GROUPS for name in set(NAMES) - set(without([group]))]
    assert len(taken) == len(set(taken))


def test_a_group_stays_where_the_choosing_set_is_worse_without_it():
    kept, *others = GROUPS
    assert dropped(lambda groups: 2.0 if groups == (kept,) else 1.0) == tuple(others)


def test_no_judged_model_is_fitted_or_chosen_on(monkeypatch):
    """Each fit sees the models of two quarters, or of three when the last is judged; no error over the judged quarter decides anything."""
    figures = tuple({figure.model: figure for figure in measured()}.values())
    asked = []

    class Columns:
        def __init__(self, rows, known=()):
            self.models = np.array([figure.model for figure in rows])

        def part(self, where):
            part = Columns([])
            part.models = self.models[where]
            return part

        def log_errors(self, logs):
            asked.append((logs, set(self.models)))
            return np.zeros(len(self.models))

    monkeypatch.setattr(speed_forms, "Columns", Columns)
    monkeypatch.setattr(speed_forms, "fit", lambda rows, **_: {figure.model for figure in rows})
    judged(figures)
    turns = [asked[at : at + len(GROUPS) + 2] for at in range(0, len(asked), len(GROUPS) + 2)]
    assert len(turns) == SETS
    for *choices, (last, judging) in turns:
        assert not last & judging
        assert {set_of(model) for model in judging} == {set_of(next(iter(judging)))}
        for fitted_on, choosing in choices:
            assert not (fitted_on & choosing or judging & (fitted_on | choosing))
    assert set.union(*(judging for *_, (_, judging) in turns)) == {figure.model for figure in figures}


def made(models, gpus, kind="workstation llamacpp"):
    """A figure of each model on each GPU."""
    return [SimpleNamespace(kind=kind, metric="decode", model=model, gpu=gpu) for model in range(models) for gpu in range(gpus)]


def test_what_a_prompt_may_reach_is_in_proportion_to_what_a_lone_matrix_product_does():
    reached = defaultdict(lambda: defaultdict(list))
    with (speed_fit.ROWS.parent / "matmul_peaks.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            gpu = load.find_gpu(row["gpu"])
            reached[gpu_kind(gpu)][gpu.name].append(float(row["bf16_tflops"]) * 1e12 / dict(gpu.dense_flops)["bf16"])
    for kind, stated in MATMUL.items():
        assert median(median(shares) for shares in reached[kind].values()) == pytest.approx(stated, abs=0.01)


def test_constants_of_a_pool_differ_from_their_priors_together():
    """Where no figure tells one, it is as far from its prior as the others of its pool."""
    figures = [figure for figure in measured() if figure.gpu in ("h100", "h200") and figure.work.engine == "vllm"][::8]
    logs = dict(zip(NAMES, fit(figures), strict=True))
    off = {name: logs[name] - np.log(PRIORS[name].value) for name in NAMES}
    assert abs(off["layer.vllm"]) > 0.02
    assert off["layer.sglang"] == pytest.approx(off["layer.trtllm"], abs=1e-3)
    assert off["layer.sglang"] * off["layer.vllm"] > 0
    assert abs(off["layer.mlx"]) < 1e-3


def test_a_fit_finds_the_least_sum():
    """Soft L1 with a bound: the fourth point is far off and counts little, the second unknown would go below its bound."""
    points, bounds = np.array([1.0, 1.02, 0.98, 9.0]), (np.array([0.0, 0.0]), np.array([5.0, 5.0]))
    found = least_squares(
        lambda at: np.concatenate([points - at[0], [at[1] + 1]]), lambda _: np.array([[-1.0, 0.0]] * 4 + [[0.0, 1.0]]), np.array([3.0, 3.0]), bounds, 100
    )
    assert found[1] == 0
    sums = [np.sum(np.sqrt(1 + ((points - at) / TIGHT) ** 2)) for at in found[0] + np.array([-1e-3, 0, 1e-3])]
    assert sums[1] == min(sums)


def test_a_class_of_few_models_speaks_for_itself_where_its_many_gpus_agree():
    own, others = made(2, 10), made(10, 3, "geforce vllm")
    wide = [0.3] * len(others)
    agree = [0.01 * (1 + at % 10) for at in range(len(own))]
    apart = [0.01] * 10 + [0.1] * 10  # one model is not like the other
    places = range(len(own))
    assert speaks_for_itself(own, agree, places)
    assert bound(own + others, agree + wide, "workstation llamacpp", "decode") < 0.11
    assert not speaks_for_itself(own, apart, places)
    assert bound(own + others, apart + wide, "workstation llamacpp", "decode") == 0.3
    assert not speaks_for_itself(made(2, 3), agree[:6], range(6))
    assert speaks_for_itself(made(5, 1), agree[:5], range(5))


def test_widened_matrices_on_an_h20_have_a_constant_of_their_own():
    """What an H20 loses to widening says nothing of a GeForce: each is made by its own machines."""
    names = {
        figure.gpu: rate_names(figure.work, fitted().constants).bandwidth_share
        for figure in measured()
        if figure.work.weight_only and figure.work.engine != "llamacpp"
    }
    assert "bandwidth.weight_only.h20" in names["h20"]
    assert "bandwidth.weight_only" in names["rtx3090"]
    made_by = json.loads(speed_fit.FILE.read_text())["constants"]
    assert made_by["bandwidth.weight_only.h20"]["value"] < made_by["bandwidth.weight_only"]["value"]
