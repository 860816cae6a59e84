"""One table of settings an engine: commands, questions and answers are read off it, and the dataclasses with written fields agree with it."""

from dataclasses import fields
from typing import get_type_hints

import pytest

from planner.engines.vllm import settings as vllm
from planner.engines.vllm.flags import flag_table
from planner.engines.vllm.versions import DEFAULT_VERSION
from planner.errors import BadValueError
from planner.facts.command_line import flag_of
from planner.facts.question import ServiceRow
from planner.facts.settings import Kind, Setting, command_words, read_flags
from planner.report.contract_parts import SettingsJson

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


TYPES = {Kind.COUNT: int, Kind.TOKENS: int, Kind.BYTES: int, Kind.SHARE: float, Kind.GIB: float, Kind.SWITCH: bool, Kind.TEXT: str}


def written(row_type) -> dict[str, tuple[object, object]]:
    """A dataclass's fields: type and default by name."""
    hints = get_type_hints(row_type)
    return {each.name: (hints[each.name], each.default) for each in fields(row_type)}


def test_what_runs_has_a_field_for_each_row():
    expected = {row.name: (TYPES[row.kind] | None if row.default is None else TYPES[row.kind], row.default) for row in vllm.SETTINGS}
    assert written(vllm.ServeConfig) == expected | {
        "times_kernels": (bool, True),
        "estimates_graphs": (bool | None, None),
        "second_runner": (bool | None, None),
        "layer_partition": (tuple[int, ...], ()),
        "vllm_version": (str, DEFAULT_VERSION),
    }  # of the environment, and of what flags mean without naming it


def test_what_is_pinned_has_a_field_for_each_row_that_a_question_may_fix():
    expected = {row.name: (TYPES[row.kind] | None if row.unpinned is None else TYPES[row.kind], row.unpinned) for row in vllm.PINS}
    assert written(vllm.Pins) == expected | {"vllm_version": (str, DEFAULT_VERSION)}


def test_a_service_of_a_stack_file_has_a_field_for_each_pin():
    def wide(row):  # 128k and 8GiB are texts
        return TYPES[row.kind] | str if row.kind in (Kind.TOKENS, Kind.BYTES) else TYPES[row.kind]

    expected = {row.name: (wide(row) | None if row.unpinned is None else wide(row), row.unpinned) for row in vllm.PINS}
    assert {name: field for name, field in written(ServiceRow).items() if name in expected} == expected


def test_an_answer_has_a_key_for_each_row_that_it_shows():
    assert get_type_hints(SettingsJson).items() >= {row.name: TYPES[row.kind] for row in vllm.REPORTED}.items()
    assert [row.place for row in vllm.REPORTED] == list(range(1, len(vllm.REPORTED) + 1))


@pytest.mark.parametrize("row", vllm.SETTINGS, ids=lambda row: row.name)
def test_vllm_has_such_a_flag(row):
    entry = flag_table()["flags"][row.flag]
    assert (entry["takes"] == 0) == (row.kind is Kind.SWITCH)
    assert set(row.aliases) | set(row.off) <= set(entry.get("also", ()))
    assert set(row.off) <= set(entry.get("off", ()))
    assert set(row.choices) <= set(entry.get("choices", row.choices))
    assert row.flag == flag_of(row.name)
