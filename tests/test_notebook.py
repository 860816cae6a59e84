"""docs/notebook.ipynb as a reader runs it: every cell anew, and every output that is kept is today's (`python -m benchmarks.notebook`)."""

import pytest
from conftest import ROOT

from tests.judges import library

pytestmark = pytest.mark.judge
PATH = ROOT / "docs" / "notebook.ipynb"


def outputs(notebook):
    """What each cell printed and showed."""
    told = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            streams = "".join(output.text for output in cell.outputs if output.output_type == "stream")
            told.append((streams, [dict(output.data) for output in cell.outputs if "data" in output]))
    return told


def test_its_outputs_are_todays(monkeypatch, tmp_path):
    nbformat = library("nbformat")
    for needed in ("nbclient", "ipykernel"):
        library(needed)
    from benchmarks.notebook import ran

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    kept = nbformat.read(PATH, as_version=4)
    nbformat.validate(kept)
    assert outputs(ran(kept, str(tmp_path))) == outputs(kept)
    assert not any("error" in output.output_type for cell in kept.cells for output in cell.get("outputs", ()))
