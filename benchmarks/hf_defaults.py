"""What configuration classes take where a config.json says nothing: `python -m benchmarks.hf_defaults` rewrites planner/architecture/defaults.json.

The classes are transformers' and vLLM's own, read in the judge's environment (tests/oracle/list_defaults.py).
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from planner.engines.vllm.versions import DEFAULT_VERSION

ROOT = Path(__file__).parent.parent
FILE = ROOT / "planner" / "architecture" / "defaults.json"


def newest() -> str:
    """The file's text, one class a line, as the newest release's environment has them."""
    python = Path.home() / ".cache" / "serve-plan" / f"vllm-{DEFAULT_VERSION}" / "bin" / "python"
    done = subprocess.run([python, "list_defaults.py"], cwd=ROOT / "tests" / "oracle", text=True, capture_output=True, check=True)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("{"))
    return "{\n" + ",\n".join(f"{json.dumps(kind)}: {json.dumps(row, separators=(',', ':'))}" for kind, row in json.loads(line).items()) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(newest())
    print(FILE)
