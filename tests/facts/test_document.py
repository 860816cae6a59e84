"""Large files of ours, read a line at a time."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from planner.facts.document import Lines


@example({'a":': [1], "b\\": [2]}, "a")
@given(st.dictionaries(st.text(), st.lists(st.text() | st.integers(), max_size=2), max_size=5), st.text())
def test_lines_hold_what_json_holds(data, name):
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in data.items())
    lines = Lines(f'{{"before":{{\n{text}\n}},\n"behind":1}}\n'.encode(), len('{"before":{'), len(f'{{"before":{{\n{text}'.encode()))
    assert {key: lines[key] for key in data} == data  # each looked for
    assert lines.get(name) == data.get(name)
    assert dict(lines) == data
    assert list(lines) == list(data)
    assert len(lines) == len(data)
    assert lines.get(name) == data.get(name)  # all were found


def test_a_name_that_holds_a_line_finds_none():
    with pytest.raises(KeyError):
        Lines(b'{\n"a":1,\n"b":2\n}')['a":1,\n"b']
