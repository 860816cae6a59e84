"""Our side of the comparison with aiconfigurator: its own worker asks another environment, ours what is here."""

from math import isfinite

from benchmarks.competitor import our_seconds, questions


def test_one_estimate_of_ours_is_timed_from_the_name_of_the_model():
    """Without aiconfigurator: `benchmarks.competitor` would find out after eight minutes of asking that our own call is gone."""
    seconds = our_seconds(next(questions()))
    assert isfinite(seconds)
    assert seconds > 0
