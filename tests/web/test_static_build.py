"""What the page without a server is made of: pinned parts, the versions that the tests run with."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from tools.static_page import build, parts

PINNED = dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}$", parts.LIBRARIES.read_text()))


def test_the_libraries_are_those_that_are_tested():
    versions = {name.lower().replace("_", "-"): version for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text())}
    assert len(PINNED) == len(parts.hashes())
    assert {name: versions[name] for name in PINNED} == PINNED


def test_what_is_not_what_was_pinned_is_no_part(tmp_path):
    (tmp_path / f"jinja2-{PINNED['jinja2']}-py3-none-any.whl").write_bytes(b"another")
    assert parts.wheels(tmp_path) == []


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(parts.PartsError, match="holds something else"):
        build.build(tmp_path, tmp_path / "parts")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
