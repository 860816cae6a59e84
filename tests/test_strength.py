"""What decides among models that do what is asked, by hand, and three pairs whose order people would expect."""

import pytest

from planner.catalogue import load
from planner.questions.choose import Offer, months, strength
from planner.questions.offers import offer_of


def offer(**changed) -> Offer:
    facts = {
        "name": "made",
        "kind": "text",
        "released": "2023-01",
        "released_at_least": False,
        "for_code": False,
        "takes_tools": True,
        "parameters": 8 * 10**9,
        "spec": tuple,
    }
    return Offer(**(facts | {"variants": ()} | changed))


@pytest.mark.parametrize(
    ("changed", "active", "purpose", "value"),
    [
        ({}, 8 * 10**9, "chat", 8.0),  # all parameters are used
        ({}, 2 * 10**9, "chat", 4.0),  # the square root of 8 x 2
        ({"released": "2023-09"}, 2 * 10**9, "chat", 8.0),  # eight months later: doubled
        ({"released": "2025-01"}, 2 * 10**9, "chat", 32.0),  # 24 months: three times
        ({"released": "2023-05"}, 2 * 10**9, "chat", 4 * 2**0.5),
        ({"for_code": True}, 2 * 10**9, "code", 8.0),
        ({"for_code": True}, 2 * 10**9, "chat", 4.0),
    ],
)
def test_strength_is_the_geometric_mean_of_all_and_active_parameters_doubled_every_eight_months(changed, active, purpose, value):
    assert strength(offer(**changed), active, purpose) == pytest.approx(value)


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
    known = {row.name: offer_of(row) for row in load.model_rows() if row.name in (newer, larger)}
    assert known[newer].parameters < known[larger].parameters
    assert [strength(known[name], known[name].parameters, "chat") for name in (newer, larger)] == pytest.approx(values, rel=0.02)
