"""docs/notebook.ipynb as a reader runs it: every cell anew, and every output that is kept is today's."""

import copy

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
    nbformat, client = library("nbformat"), library("nbclient")
    library("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    kept = nbformat.read(PATH, as_version=4)
    nbformat.validate(kept)
    ran = copy.deepcopy(kept)
    for cell in ran.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    client.NotebookClient(ran, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert outputs(ran) == outputs(kept)
    assert not any("error" in output.output_type for cell in kept.cells for output in cell.get("outputs", ()))
