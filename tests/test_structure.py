"""The house (docs/decisions/0005-rooms.md): arrows run one way, between rooms and among engines; files stay small; the start imports no heavy library."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import planner

FLOORS = [  # each room imports only from floors above its own
    ["units", "errors", "arrays", "text", "version", "record", "secrets"],
    ["facts"],
    ["architecture", "speed"],
    ["engines"],
    ["catalogue"],
    ["machine", "grid"],
    ["questions"],
    ["emit", "report"],
    ["web", "api"],
    ["cli"],
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MOST_ARROWS = 80
ROOT = Path(planner.__file__).parent


def imported(path: Path) -> Iterator[list[str]]:
    """What a file imports of planner, as the parts of dotted names; `import planner.x` too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "planner":
            yield from ([*node.module.split(".")[1:], alias.name] for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1:] for alias in node.names if alias.name.startswith("planner."))
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: a relative import"


def modules() -> Iterator[tuple[list[str], list[str]]]:
    """Pairs of a module's place and what it imports from another room."""
    for path in sorted(ROOT.rglob("*.py")):
        own = list(path.relative_to(ROOT).with_suffix("").parts)
        if own[0] in FLOOR:
            yield from ((own, target) for target in imported(path))


def test_every_file_has_a_room():
    assert {path.name.removesuffix(".py") for path in ROOT.iterdir()} - {"__init__", "__main__", "__pycache__", "py.typed"} == set(FLOOR)


def test_arrows_run_one_way():
    up = {f"{'/'.join(own)}.py imports {'.'.join(to)}" for own, to in modules() if own[0] != to[0] and FLOOR[to[0]] >= FLOOR[own[0]] > 0}
    assert not up, "\n".join(sorted(up))


def test_an_engine_never_imports_another():
    engines = {path.name for path in (ROOT / "engines").iterdir() if path.is_dir()}
    wrong = {f"{'/'.join(own)}.py imports {'.'.join(to)}" for own, to in modules() if own[0] == to[0] == "engines" and len({own[1], to[1]} & engines) > 1}
    assert not wrong, "\n".join(sorted(wrong))


def test_few_arrows_join_the_rooms():
    assert len({(own[0], to[0]) for own, to in modules() if own[0] != to[0]}) <= MOST_ARROWS


def test_files_stay_small():
    for path in ROOT.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 330, path


def test_the_main_command_imports_no_heavy_library(tmp_path):
    code = (
        "import sys; sys.argv = ['plan', '--gpu', 'rtx4090', '--model', 'qwen3-8b', '--format', 'json', '--dry-run']\n"
        "from planner.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'huggingface_hub', 'pydantic', 'rich', 'torch', 'argparse', 'difflib', 'logging', 'yaml'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
