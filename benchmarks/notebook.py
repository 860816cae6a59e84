"""The notebook of the documents, every cell run anew: `python -m benchmarks.notebook` writes docs/notebook.ipynb with today's outputs."""

from __future__ import annotations

import copy
import os
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat

ROOT = Path(__file__).parent.parent
PATH = ROOT / "docs" / "notebook.ipynb"


def ran(kept: Any, folder: str) -> Any:
    """The notebook after all of its cells, begun without an output."""
    fresh = copy.deepcopy(kept)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    nbclient.NotebookClient(fresh, timeout=120, record_timing=False, coalesce_streams=True, resources={"metadata": {"path": folder}}).execute()
    return fresh


def main() -> None:
    """Write it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"PYTHONPATH": str(ROOT), "IPYTHONDIR": folder}
        nbformat.write(ran(nbformat.read(PATH, as_version=4), folder), PATH)


if __name__ == "__main__":
    main()
