"""One table of settings an engine: commands, questions and answers are read off it, and the dataclasses with written fields agree with it."""

import pytest

from planner.errors import BadValueError
from planner.facts.settings import Kind, Setting, command_words, read_flags

SEQS = Setting(name="seqs", flag="--seqs", aliases=("-s",), kind=Kind.COUNT, default=4, least=1, most=64, automatic=("auto",))
SIZE = Setting(name="size", flag="--size", kind=Kind.BYTES, least=1, most=1 << 50)
SHARE = Setting(name="share", flag="--share", kind=Kind.SHARE, default=0.9, earlier=(("0.2", 0.5), ("0.10", 0.7)), always_said=True)
MAP = Setting(name="map", flag="--map", off=("--no-map",), kind=Kind.SWITCH, default=True)
NAME = Setting(name="kind", flag="--kind", kind=Kind.TEXT, default="auto")
TABLE = (SEQS, SIZE, SHARE, MAP, NAME)


class Values:
    """Settings by the table's names."""

    def __init__(self, **values) -> None:
        vars(self).update({setting.name: setting.default for setting in TABLE} | values)


def test_a_command_says_what_does_not_go_without_saying():
    assert command_words(TABLE, Values()) == ["--share", "0.9"]
    words = command_words(TABLE, Values(seqs=8, size=1 << 30, share=0.25, map=False, kind="fast"))
    assert words == ["--seqs", "8", "--size", "1073741824", "--share", "0.25", "--no-map", "--kind", "fast"]


def test_a_command_is_read_by_any_spelling():
    settings, faults = read_flags(TABLE, {"-s": "70", "--no-map": True, "--kind": "x", "--other": "1"})
    assert (settings, faults) == ({"seqs": 70, "map": False, "kind": "x"}, {})  # 70 is no question's, but may be a command's
    assert read_flags(TABLE, {"--seqs": "auto"}) == ({}, {})


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        (SEQS, "many", "a number"),
        (SEQS, "0", "a number above 0"),
        (SHARE, "nan", "a share above 0 and at most 1"),
        (SHARE, "2", "a share above 0 and at most 1"),
    ],
)
def test_what_an_engine_refuses_is_said(setting, value, reason):
    with pytest.raises(BadValueError, match=f"expected {reason}$"):
        setting.read(value)
    assert read_flags(TABLE, {setting.flag: value}) == ({}, {setting.flag: f"{setting.flag} is {value!r}: expected {reason}"})


@pytest.mark.parametrize(
    ("setting", "value", "read"),
    [(SEQS, "8", 8), (SEQS, 64, 64), (SIZE, "2g", 2 << 30), (SHARE, "1", 1.0), (MAP, "No", False), (MAP, True, True), (NAME, "x", "x")],
)
def test_a_file_asks_as_people_write(setting, value, read):
    assert setting.asked(value) == read


@pytest.mark.parametrize(
    ("setting", "value"), [(SEQS, 65), (SEQS, True), (SEQS, "x"), (SEQS, 1.5), (SHARE, 0), (SHARE, []), (MAP, "on"), (NAME, 3), (NAME, "a\nb"), (NAME, " ")]
)
def test_a_file_asks_within_bounds(setting, value):
    with pytest.raises(ValueError, match=r"expected|is not a number"):
        setting.asked(value)


def test_a_default_is_that_of_the_release():
    assert [SHARE.default_in(release) for release in ("0.1", "0.2", "0.9", "0.10", "0.33")] == [0.5, 0.7, 0.7, 0.9, 0.9]
