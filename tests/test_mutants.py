"""The frozen list of faults is current: each of its texts stands where it says, once, and the tests that should notice are there."""

import ast

import pytest
from conftest import ROOT

from benchmarks.mutants import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_made(mutant):
    ast.parse(mutant.applied((ROOT / mutant.file).read_text("utf-8")))
    assert all((ROOT / test).is_file() for test in mutant.tests)


def test_a_line_that_has_changed_is_told():
    with pytest.raises(ValueError, match="stands 0 times"):
        MUTANTS[0].applied("something else")
