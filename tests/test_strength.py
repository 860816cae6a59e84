"""What decides among models that do what is asked: the rule by hand, what an index says in its place, and whom it is said of."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.choosing import INDEXES, fitted
from planner.catalogue import load
from planner.catalogue.rows import Quality
from planner.questions.offers import rated
from planner.questions.standing import CODE_BONUS, UNMEASURED, Rated, months, rule, standings

PURPOSES = ("agent", "chat", "code", "embedding", "vision")


def model(**changed) -> Rated:
    facts = {"name": "made", "family": "made", "parameters": 8 * 10**9, "active_parameters": 8 * 10**9, "released": "2023-01"}
    return Rated(**(facts | changed))


def figure(value: float, index: str = "LiveBench 2026-01-08") -> tuple[Quality, ...]:
    return (Quality(index=index, value=value, source="made up", date="2026-01-08"),)


@pytest.mark.parametrize(
    ("changed", "purpose", "strength"),
    [
        ({}, "chat", 8.0),  # all parameters are used
        ({"active_parameters": 2 * 10**9}, "chat", 4.0),  # the square root of 8 x 2
        ({"active_parameters": 2 * 10**9, "released": "2023-09"}, "chat", 8.0),  # eight months later: doubled
        ({"active_parameters": 2 * 10**9, "released": "2025-01"}, "chat", 32.0),  # 24 months: three times
        ({"active_parameters": 2 * 10**9, "released": "2023-05"}, "chat", 4 * 2**0.5),
        ({"for_code": True}, "code", 8 * 2**CODE_BONUS),
        ({"for_code": True}, "chat", 8 / 2**CODE_BONUS),
    ],
)
def test_strength_is_the_geometric_mean_of_all_and_active_parameters_doubled_every_eight_months(changed, purpose, strength):
    assert 2 ** rule(model(**changed), purpose) == pytest.approx(strength)


def test_months_count_from_january_2023():
    assert [months(text) for text in ("2023-01", "2023-12", "2025-04")] == [0, 11, 27]


@pytest.mark.parametrize(
    ("newer", "larger", "values"),
    [
        ("qwen3-8b", "mistral-nemo", (85, 58)),  # 8.19 x 2^(27/8); 12.2 x 2^(18/8)
        ("qwen3-4b", "mistral-7b", (59, 29)),  # 4.02 x 2^(31/8); 7.25 x 2^(16/8)
        ("gemma-4-31b", "llama-3.3-70b", (918, 518)),  # 31.3 x 2^(39/8); 70.6 x 2^(23/8)
    ],
)
def test_a_model_of_today_is_put_before_a_larger_one_of_years_ago(newer, larger, values):
    """All dense: every parameter is active."""
    known = {row.name: rated(row) for row in load.model_rows() if row.name in (newer, larger)}
    assert known[newer].parameters < known[larger].parameters
    assert [2 ** rule(known[name], "chat") for name in (newer, larger)] == pytest.approx(values, rel=0.04)


def test_a_figure_goes_before_the_rule_and_says_something_of_the_line_and_half_as_much_of_the_family():
    measured = model(name="measured", quality=figure(60.0))
    later = model(name="later", replaces="measured", released="2023-09")
    sister = model(name="sister", parameters=4 * 10**9, active_parameters=4 * 10**9)
    stranger = model(name="stranger", family="other")
    held = standings([measured, later, sister, stranger], "chat")
    assert [held[name].basis for name in ("measured", "later", "sister", "stranger")] == ["measured", "line", "family", "rule"]
    departs = held["measured"].doublings - rule(measured, "chat")
    assert departs > 1
    assert held["later"].doublings == pytest.approx(rule(later, "chat") + departs)
    assert held["sister"].doublings == pytest.approx(rule(sister, "chat") + departs * 2 / 3)  # two of the family are held: the measured one and its successor
    assert held["stranger"].doublings == rule(stranger, "chat") - UNMEASURED
    assert held["later"].of == held["sister"].of == "measured"
    assert held["stranger"].quality is None


def test_what_is_trained_on_anothers_weights_counts_as_those():
    base, tuned = model(name="base", quality=figure(60.0)), model(name="tuned", based_on="base", released="2026-01", for_code=True)
    for purpose in ("chat", "code"):
        held = standings([base, tuned], purpose)
        assert held["tuned"].doublings <= held["base"].doublings


def test_a_figure_counts_for_the_purposes_of_its_index_only():
    held = [standings([model(quality=figure(50.0, "LiveBench 2026-01-08 coding"))], purpose)["made"].basis for purpose in PURPOSES]
    assert held == ["measured", "rule", "measured", "rule", "rule"]


@given(st.lists(st.floats(10, 95), min_size=2, max_size=6), st.sampled_from(["LiveBench 2026-01-08", "LiveBench 2026-06-25"]))
def test_models_of_one_size_and_age_are_in_the_order_of_their_index(values, index):
    models = [model(name=str(number), quality=figure(value, index)) for number, value in enumerate(values)]
    held = standings(models, "vision")
    assert sorted(held, key=lambda name: held[name].doublings) == sorted(held, key=lambda name: values[int(name)])


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_successor_counts_no_less_than_what_it_replaces_unless_an_index_says_so(purpose):
    rows = {row.name: row for row in load.model_rows()}
    held = standings([rated(row) for row in rows.values()], purpose)
    for row in rows.values():
        if row.replaces:
            before = rows[row.replaces]
            assert months(row.released) >= months(before.released), row.name
            assert 0.5 < row.parameters / before.parameters < 2.5, row.name
            if rated(row).active_parameters >= 0.9 * rated(before).active_parameters and row.parameters >= 0.9 * before.parameters:
                measured = {held[row.name].basis, held[before.name].basis} == {"measured"}
                assert measured or held[row.name].doublings >= held[before.name].doublings, row.name


def test_each_figure_of_the_catalogue_is_of_a_known_index_and_says_where_it_is_from():
    indexes = json.loads(INDEXES.read_text())
    for row in load.model_rows():
        for held in row.quality:
            assert held.index in indexes["indexes"], row.name
            assert held.source, row.name
            assert len(held.date) == 10, row.name
            assert 0 < held.value <= 100, row.name
        assert not row.replaces or load.find_model(row.replaces), row.name
        assert not row.based_on or load.find_model(row.based_on), row.name


@pytest.mark.parametrize("line", ["LiveBench", "LiveBench coding", "MTEB"])
def test_the_line_of_an_index_is_the_reduced_major_axis_of_its_figures(line):
    """`python -m benchmarks.choosing --fit` prints them."""
    from planner.questions import standing

    held = json.loads(standing.Path(standing.__file__).with_name("indexes.json").read_text())["lines"][line]
    at_zero, per_point, _ = fitted(line)
    values = [40.0, 60.0, 75.0]
    assert [held["at_zero"] + held["per_point"] * value for value in values] == pytest.approx([at_zero + per_point * value for value in values], abs=0.1)
    assert all(one < other for one, other in pairwise(at_zero + per_point * value for value in values))
