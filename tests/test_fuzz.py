"""The fuzzer itself; `make fuzz` runs it on every reader of strangers' texts."""

from fuzz import READERS, fuzz, seeds


def test_every_reader_has_something_to_begin_with():
    assert all(seeds(reader) for reader in READERS)


def test_what_breaks_a_reader_is_seen(monkeypatch):
    monkeypatch.setitem(READERS, "log", lambda data, place: 1 / 0)
    assert "ZeroDivisionError" in next(fuzz("log", 1.0)).why
