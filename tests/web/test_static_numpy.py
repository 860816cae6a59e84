"""The page without a server has no NumPy: its stand-in gives the same machines and the same front, and does what NumPy does in every shape the grids use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from tests.conftest import ROOT

INSIDE = ROOT / "tools" / "static_page" / "inside"
ASKED = """
import sys
sys.path.insert(0, sys.argv[1])
import json, numpy
assert numpy.__file__.startswith(sys.argv[1])
from planner.questions.shortlist import machines_for
from planner.report.machines import machines_json
print(json.dumps([machines_json(machines_for(name, quantization=None, context=context, users=users, min_tokens_per_s=None, top=20)) for name, context, users in json.loads(sys.argv[2])]))
"""
NEEDS = [("qwen3-32b", 32768, 10), ("qwen3-embedding-0.6b", 8192, 4)]


@pytest.mark.slow
def test_machines_are_the_same():
    from planner.questions.shortlist import machines_for
    from planner.report.machines import machines_json

    command = [sys.executable, "-c", ASKED, str(INSIDE), json.dumps(NEEDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = [
        machines_json(machines_for(name, quantization=None, context=context, users=users, min_tokens_per_s=None, top=20)) for name, context, users in NEEDS
    ]
    assert json.loads(done.stdout) == json.loads(json.dumps(expected))


COMPUTED = [
    "n.array([[1, 2], [3, 4]])[n.array([1, 0]), n.array([0, 1])][:, None]",
    "n.array([1, 2, 3])[:, None] * n.array([10, 20])",
    "n.array([5, -5, 7]) // 2 + n.array([1.5, 2.5, 3.5])",
    "n.array([1, 0]) / n.array([0, 4])",
    "-(-n.array([7, 8, 9]) // 4)",
    "n.where(n.array([True, False])[:, None], n.array([1, 2]), 0)",
    "n.where(n.array([3, 1]) > 2, 1.5, n.array([7, 8]))",
    "n.maximum(n.array([[1], [9]]), n.array([4, 5]))",
    "n.minimum(2.5, n.array([1.0, 4.0]))",
    "~(n.array([1, 2, 3]) > 1) | (n.array([1, 2, 3]) == 3)",
    "n.ceil(n.array([1.2, 2.0])).astype('int64')",
    "n.array([2.9, -2.9]).astype('int64')",
    "n.repeat(n.arange(3), [2, 0, 1])",
    "n.concatenate([[1, 2], [3]])",
    "n.array([1, 2, 3])[n.array([True, False, True])]",
    "n.array([[1, 2], [3, 4], [5, 6]])[n.array([True, False, True])]",
    "n.array([[1, 2], [3, 4]])[:, 1]",
    "n.broadcast_to(n.array([[1], [2]]), (2, 3))",
    "n.isin(n.array([1, 5, 2]), [2, 1])",
    "n.flatnonzero(n.array([0, 3, 0, 4]))",
    "n.nonzero(n.array([[0, 3], [5, 0]]))[1]",
    "(n.array([[1, 2], [3, 0]]) >= n.array([1, 1])).all(axis=1)",
    "n.array([(1, 2.5), (3, 4)], dtype=n.float64).reshape(-1, 2)",
    "n.isfinite(n.full(2, n.nan))[:, None]",
    "n.zeros((2, 2), dtype=n.int64)",
]


@pytest.fixture(scope="module")
def alone():
    """The stand-in as a module of another name."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("numpy_alone", Path(INSIDE / "numpy.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("words", COMPUTED)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_an_expression(alone, words):
    found, expected = (eval(words, {"n": module}) for module in (alone, numpy))  # noqa: S307 - the words stand above
    assert found.shape == expected.shape
    assert found.tolist() == expected.tolist()
    assert {type(value) for value in found.flat} == {type(value.item()) for value in expected.flat}


def test_a_part_is_put_in(alone):
    for module in (alone, numpy):
        table = module.zeros((3, 2), dtype=module.int64)
        table[module.array([1, 0, 1]) == 1] = module.array([[1, 2], [3, 4]])
        assert table.tolist() == [[1, 2], [0, 0], [3, 4]]
