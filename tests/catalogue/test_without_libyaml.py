"""PyYAML without libyaml (musl, PyPy, WebAssembly) reads the same, more slowly."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
sys.modules["yaml._yaml"] = None  # as where PyYAML was built without libyaml
import yaml
assert not yaml.__with_libyaml__ and not hasattr(yaml, "CSafeLoader")
from pathlib import Path
from planner.catalogue.yaml_file import line_of, read_yaml
from planner.errors import FileError
from planner.reader import parse_yaml
print(parse_yaml("a: [1, 2]\\n---\\nb: &x {c: 1.5}\\nd: *x\\n", "text"))
for name in ("good.yaml", "twice.yaml"):
    try:
        print(read_yaml(Path(name), 1000), line_of(Path(name), ["b"]))
    except FileError as error:
        print(error.message)
"""


def test_yaml_without_libyaml(tmp_path):
    (tmp_path / "good.yaml").write_text("a: 1\nb: [x, y]\n")
    (tmp_path / "twice.yaml").write_text("a: 1\na: 2\n")
    done = subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "[{'a': [1, 2]}, {'b': {'c': 1.5}, 'd': {'c': 1.5}}]",
        "{'a': 1, 'b': ['x', 'y']} 2",
        "twice.yaml:2: the key 'a' appears twice",
    ], done.stderr
