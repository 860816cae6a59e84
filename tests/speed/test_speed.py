"""Speed: the rows that were measured, the laws of the roofline, and how far it is off on models it has not seen."""

import json
from collections import defaultdict
from dataclasses import replace
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner
from benchmarks.speed_accuracy import LEAST, choices, coverage, headline, insides
from benchmarks.speed_fit import NAMES, PRIORS, SHARE, Columns, errors_left_out, fit
from benchmarks.speed_medians import FILE as MEDIANS
from benchmarks.speed_medians import medians
from benchmarks.speed_rows import LITTLE, law, left_out, measured, number, rows
from planner.speed.constants import fitted, rates
from planner.speed.roofline import added_s, load, prompt_s, served, step, waited_s

WORKS = tuple({figure.work for figure in measured()})
works = st.sampled_from(WORKS)


def rate(work):
    return rates(work)


def test_every_row_takes_part_or_says_why():
    everything = rows()
    assert len(everything) == 2668
    assert sum(not left_out(row) for row in everything) > 1600
    for row in everything:
        if found := law(row):
            assert left_out(row) or abs(found / number(row, "concurrency") - 1) <= LITTLE


def test_rows_whose_weights_cannot_fit_are_found():
    impossible = next(row for row in rows() if row["id"] == "aic-1661")  # 235 GB of FP8 on one H200
    assert "do not fit" in left_out(impossible)


def test_a_benchmark_of_several_waves_is_no_burst():
    """The source of these rows states four requests a user; its medians of first tokens are judged and not fitted."""
    waves = next(figure for figure in measured() if figure.id == "3090-512" and figure.metric == "ttft")
    burst = next(figure for figure in measured() if figure.id == "3090-2-c64" and figure.metric == "ttft")
    assert (waves.burst, waves.fits, burst.burst, burst.fits) == (False, False, True, True)


def test_no_figure_counts_twice():
    keys = [(f.id, f.metric) for f in measured()]
    assert len(keys) == len(set(keys))


@given(works, st.integers(1, 512), st.integers(1, 512), st.integers(1, 200_000), st.integers(1, 200_000))
def test_more_sequences_or_context_never_make_a_step_faster(work, users, more_users, context, more):
    small = step(work, rate(work), users, work.cache_bytes(context)).total_s
    assert step(work, rate(work), users + more_users, work.cache_bytes(context)).total_s >= small
    assert step(work, rate(work), users, work.cache_bytes(context + more)).total_s >= small


@given(works, st.integers(1, 100_000), st.integers(1, 100_000))
def test_a_longer_prompt_takes_longer(work, prompt, more):
    longer = prompt + more
    assert prompt_s(work, rate(work), longer, work.attention_flops(longer)) >= prompt_s(work, rate(work), prompt, work.attention_flops(prompt)) * 0.999


@given(works, st.integers(1, 512), st.integers(1, 30_000), st.integers(2, 4_000))
def test_nothing_is_faster_than_the_memory(work, users, prompt, answer):
    found = served(work, rate(work), load(work, users, prompt, answer))
    held = work.weights
    least_s = (held.dense_bytes + held.head_bytes) / work.peak.bandwidth_bytes_per_s
    assert found.step_s >= least_s
    assert found.output_tokens_per_s <= users / least_s
    assert found.time_to_first_token_s > found.prompt_s


@given(works, st.integers(1, 300), st.integers(1, 30_000), st.integers(2, 4_000))
def test_a_faster_memory_is_never_slower(work, users, prompt, answer):
    faster = replace(work, peak=replace(work.peak, bandwidth_bytes_per_s=2 * work.peak.bandwidth_bytes_per_s))
    assert step(faster, rate(work), users, work.cache_bytes(prompt)).total_s <= step(work, rate(work), users, work.cache_bytes(prompt)).total_s


@given(works, st.lists(st.tuples(st.integers(1, 512), st.integers(1, 30_000), st.integers(2, 4_000)), min_size=1, max_size=5))
def test_a_grid_gives_what_single_questions_give(work, asked):
    users, prompts, answers = (np.array(column, dtype=float) for column in zip(*asked, strict=True))
    grid = served(work, rate(work), load(work, users, prompts, answers))
    for at, (one, prompt, answer) in enumerate(asked):
        alone = served(work, rate(work), load(work, float(one), float(prompt), float(answer)))
        assert grid.time_per_output_token_s[at] == pytest.approx(alone.time_per_output_token_s, rel=1e-12)
        assert grid.output_tokens_per_s[at] == pytest.approx(alone.output_tokens_per_s, rel=1e-12)


@given(works, st.integers(2, 512), st.integers(1, 30_000), st.integers(2, 4_000))
def test_a_closed_loop_waits_for_others_but_for_less_than_a_burst_does(work, users, prompt, answer):
    alone, several = (served(work, rate(work), load(work, float(many), float(prompt), float(answer))) for many in (1, users))
    assert several.time_to_first_token_s > alone.time_to_first_token_s
    steps_s = rate(work).steps_before_first * several.step_s
    assert several.time_to_first_token_s - steps_s - alone.time_to_first_token_s <= 0.5 * (users - 1) * alone.prompt_s * 1.001


@pytest.mark.parametrize(("users", "prompt", "prompts"), [(4, 512, 4), (8, 512, 6), (2, 4096, 1.5), (1, 512, 1)])
def test_first_tokens_of_a_burst_come_when_their_batch_is_computed(users, prompt, prompts):
    """Of 8 prompts of 512 tokens and batches of 2,048 four are done after four prompts' time and four after eight's: six in the mean."""
    work = next(figure.work for figure in measured() if figure.gpu == "rtx3090" and figure.work.engine == "vllm")
    asked = load(work, float(users), float(prompt), 256.0, burst=1)
    alone = prompt_s(work, rate(work), asked.prompt, asked.attention_flops)
    added = min(added_s(work, rate(work), asked.users, asked.prompt, asked.attention_flops), alone)
    assert waited_s(work, rate(work), asked, alone=alone, added=added, busy=0.5) == pytest.approx((prompts - 1) * added)


@given(works, st.integers(1, 500), st.integers(1, 30_000), st.integers(2, 4_000))
def test_one_more_user_never_shortens_a_first_token(work, users, prompt, answer):
    fewer, more = (served(work, rate(work), load(work, float(many), float(prompt), float(answer))) for many in (users, users + 1))
    assert more.time_to_first_token_s >= fewer.time_to_first_token_s * 0.98  # what a prompt adds shrinks as the steps it shares grow


def test_shares_are_shares():
    constants = fitted().constants
    assert set(constants) == set(NAMES)
    for name, value in constants.items():
        assert value <= 1 or PRIORS[name].unit != SHARE, name


def test_the_columns_of_the_fit_say_what_the_product_says():
    figures = [figure for figure in measured() if figure.metric == "tpot" and not figure.burst][::40]
    errors = Columns(figures).log_errors(np.log([fitted().constants[name] for name in NAMES]))
    for figure, error in zip(figures, errors, strict=True):
        found = served(figure.work, rate(figure.work), load(figure.work, figure.users, figure.prompt, figure.answer))
        assert found.time_per_output_token_s / figure.value == pytest.approx(exp(error), rel=1e-6)


def test_no_class_moves_unseen():
    """Median errors of the shipped constants in percent, by class and metric: tests/data/speed_medians.json (`python -m benchmarks.speed_medians` writes it)."""
    shipped, kept = medians(), json.loads(MEDIANS.read_text())
    assert shipped.keys() == kept.keys()
    moved = {name: (kept[name], value) for name, value in shipped.items() if abs(value - kept[name]) > 0.15}
    assert not moved


@pytest.mark.slow
def test_the_constants_are_those_of_the_fit():
    logs = fit(measured(), evaluations=100)
    for name, value in zip(NAMES, logs, strict=True):
        assert fitted().constants[name] == pytest.approx(exp(value), rel=0.02), name


@pytest.mark.slow
def test_models_left_out_are_predicted_as_well_as_stated():
    figures = measured()
    errors = errors_left_out(figures, "model")
    found = headline(figures, errors)
    assert found["single stream"] <= 10
    assert found["tpot"] <= 10
    assert found["throughput"] <= 12
    assert found["ttft"] <= 18
    assert 0.75 <= coverage(figures, errors) <= 0.85
    held = defaultdict(list)
    for figure, inside in zip(figures, insides(figures, errors), strict=True):
        held[figure.kind, figure.metric].append(inside)
    shares = {name: (sum(told), len(told)) for name, told in held.items() if len(told) >= LEAST}
    assert all(0.75 * many - 1 <= inside <= 0.88 * many + 1 for inside, many in shares.values()), shares  # one figure off: of 22 it is 5 %
    chosen = choices(figures, errors)
    assert chosen["ours"] >= 0.85 > chosen["largest"]


def load_answer(**asked):
    """The speed block of an answer, and why there is none."""
    said = planner.plan(**{"model": "qwen3-8b", "gpu": "rtx4090", "context": "32k"} | asked).to_dict()
    return said["speed"], said["speed_reason"]


def test_the_speed_is_for_the_load_that_is_asked():
    usual, _ = load_answer()
    asked, _ = load_answer(input=8000, output_tokens=200, concurrency=2)
    assert (usual["prompt_tokens"], usual["output_tokens"]) == (2000, 500)
    assert (asked["prompt_tokens"], asked["output_tokens"], asked["concurrency"]) == (8000, 200, 2)
    assert asked["ttft_s"]["expected"] > usual["time_to_first_token_s"]["expected"]
    for name in ("ttft_s", "tpot_s", "output_tokens_per_s"):
        assert asked[name]["low"] <= asked[name]["expected"] <= asked[name]["high"]


def test_one_at_once_is_a_user_alone():
    speed, _ = load_answer(concurrency=1)
    assert speed["ttft_s"]["expected"] == speed["time_to_first_token_s"]["expected"]
    assert speed["tpot_s"]["expected"] == pytest.approx(1 / speed["tokens_per_s"]["expected"], rel=0.05)
    assert speed["output_tokens_per_s"]["expected"] == speed["total_tokens_per_s"]["expected"]


def test_version_1_s_names_stay_beside_those_of_version_2():
    speed, _ = load_answer(concurrency=2)
    assert (speed["answer_tokens"], speed["users"]) == (speed["output_tokens"], speed["concurrency"])


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"input": 32_000, "output_tokens": 1000}, "a prompt of 32,000 and an output of 1,000 tokens exceed the context of 32,768"),
        ({"gpu": "mi300x", "concurrency": 4}, "only one request alone can be told"),
    ],
)
def test_a_load_of_which_nothing_is_known_says_why(asked, why):
    speed, reason = load_answer(**asked)
    assert speed is None
    assert why in reason


@pytest.mark.parametrize("more", [{"concurrency": 500}, {"engine": "llama.cpp", "concurrency": 4}, {"gpu": "apple-m4-max-64gb", "concurrency": 4}])
def test_who_does_not_run_at_once_waits_by_littles_law(more):
    """Requests in the server = requests a second x seconds of each, and all together get what those at work do."""
    speed, _ = load_answer(**more)
    assert "at once, the others of" in speed["because"]
    seconds = speed["ttft_s"]["expected"] + (speed["output_tokens"] - 1) * speed["tpot_s"]["expected"]
    a_second = speed["output_tokens_per_s"]["expected"] / speed["output_tokens"]
    assert seconds * a_second == pytest.approx(speed["concurrency"], rel=0.1)  # of figures of two digits
    running, _ = load_answer(**more | {"concurrency": int(speed["because"].partition(" request")[0].rpartition(" ")[2])})
    assert running["tpot_s"]["expected"] == speed["tpot_s"]["expected"]
    if running["concurrency"] > 1:  # of one alone what is said of all together is the decoding alone
        assert running["output_tokens_per_s"] == speed["output_tokens_per_s"]


def test_a_load_changes_no_setting():
    usual, asked = (planner.plan(model="qwen3-8b", gpu="rtx4090", **load) for load in ({}, {"input": 9000, "concurrency": 3}))
    assert [service.argv for service in usual.deployment.services] == [service.argv for service in asked.deployment.services]
