"""A minute of fuzzing, from the same seed each time; `make fuzz` does it at length and from another."""

import pytest
from fuzz import READERS, fuzz, seeds

SECONDS = 4.0


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_bent_inputs_are_answered_or_refused(reader):
    assert seeds(reader)
    assert [broken.why for broken in fuzz(reader, SECONDS, seed=1)] == []


def test_what_breaks_a_reader_is_seen(monkeypatch):
    monkeypatch.setitem(READERS, "log", lambda data, place: 1 / 0)
    assert "ZeroDivisionError" in next(fuzz("log", 1.0)).why
