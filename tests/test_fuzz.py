"""The fuzzer itself; `make fuzz` runs it on every reader of strangers' texts."""

import pytest
from fuzz import READERS, fuzz, seeds

BENT = {
    "script": 50,
    "plan": 50,
    "proxy": 100,
    "log": 100,
    "config": 80,
    "hf_quant": 80,
    "index": 80,
    "safetensors": 80,
}  # inputs beside the seeds: seconds in all


def test_every_reader_has_something_to_begin_with():
    assert all(seeds(reader) for reader in READERS)


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_no_bent_input_breaks_a_reader(reader, monkeypatch):
    """The same inputs everywhere, so many of them and not for so long: how fast a machine is decides nothing, and lines are counted here."""
    monkeypatch.setattr("fuzz.SECONDS", 60.0)
    assert not [(broken.why, broken.data) for broken in fuzz(reader, most=len(seeds(reader)) + BENT.get(reader, 200))]


def test_what_breaks_a_reader_is_seen(monkeypatch):
    monkeypatch.setitem(READERS, "log", lambda data, place: 1 / 0)
    assert "ZeroDivisionError" in next(fuzz("log", 1.0)).why
