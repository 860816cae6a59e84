"""Make planner/engines/mlx/flags.json from the programs' own sources: `python -m benchmarks.mlx_flags mlx_lm-….whl mlx_vlm-….whl`."""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

OUT = Path(__file__).parents[1] / "planner" / "engines" / "mlx" / "flags.json"
_PROGRAMS = {
    "mlx_lm": {"server": "mlx_lm/server.py", "generate": "mlx_lm/generate.py", "chat": "mlx_lm/chat.py"},
    "mlx_vlm": {"server": "mlx_vlm/server/cli.py", "generate": "mlx_vlm/generate/dispatch.py", "chat": "mlx_vlm/chat.py"},
}


def _flags(source: str) -> dict[str, dict[str, object]]:
    """What each `add_argument` of a server says."""
    found: dict[str, dict[str, object]] = {}
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument"):
            continue
        names = [ast.literal_eval(name) for name in node.args]
        said = {word.arg: word.value for word in node.keywords}
        is_pair = isinstance(said.get("action"), ast.Attribute)  # argparse.BooleanOptionalAction
        action = ast.literal_eval(said["action"]) if "action" in said and not is_pair else ""
        entry: dict[str, object] = {"takes": 0 if is_pair or action.startswith("store_") else 1}
        if isinstance(kind := said.get("type"), ast.Name) and kind.id in ("int", "float"):
            entry["reads"] = kind.id
        if "choices" in said:
            with suppress(ValueError):  # those that are computed are not known
                entry["choices"] = list(ast.literal_eval(said["choices"]))
        if names[1:]:
            entry["also"] = names[1:]
        if is_pair:
            entry["off"] = [f"--no-{names[0].removeprefix('--')}"]
        if "nargs" in said and ast.literal_eval(said["nargs"]) == "+":
            entry["many"] = True
        found[names[0]] = entry
    return found


def main() -> None:
    """Write the table."""
    blocks = []
    for wheel in map(Path, sys.argv[1:]):
        package, version = wheel.name.split("-")[:2]
        for program, path in _PROGRAMS[package].items():
            source = zipfile.ZipFile(wheel).read(path).decode()
            lines = ",\n".join(f"  {json.dumps(flag)}: {json.dumps(entry)}" for flag, entry in sorted(_flags(source).items()))
            blocks.append(f' "{package}.{program}": {{"source": "{package} {version}, {path}", "flags": {{\n{lines}\n }}}}')
    OUT.write_text("{\n" + ",\n".join(blocks) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
