"""The house (docs/decisions/0005-rooms.md): arrows run one way, between rooms and among engines; files stay small; the start imports no heavy library."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import planner
from planner.engines import ENGINES

FLOORS = [  # each room imports only from floors above its own
    ["units", "errors", "arrays", "text", "reader", "patterns", "writing", "version"],
    ["facts"],
    ["architecture", "speed"],
    ["engines"],
    ["catalogue"],
    ["machine", "grid"],
    ["questions"],
    ["emit", "report"],
    ["web", "api"],
    ["remote"],
    ["cli"],
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MOST_ARROWS = 103  # eleven of them to the reader of strangers' texts and their patterns, which nothing goes around; eleven of the doors for programs; the page tells a text that holds a secret; three to what writes a file whole
ROOT = Path(planner.__file__).parent


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All of a file's syntax: several tests ask."""
    return tuple(ast.walk(ast.parse(path.read_text())))


def imported(path: Path) -> Iterator[list[str]]:
    """What a file imports of planner, as the parts of dotted names; `import planner.x` too."""
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "planner":
            yield from ([*node.module.split(".")[1:], alias.name] for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1:] for alias in node.names if alias.name.startswith("planner."))
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: a relative import"


@cache
def modules() -> tuple[tuple[list[str], list[str]], ...]:
    """Pairs of a module's place and what it imports from another room."""
    places = ((path, list(path.relative_to(ROOT).with_suffix("").parts)) for path in sorted(ROOT.rglob("*.py")))
    return tuple((own, target) for path, own in places if own[0] in FLOOR for target in imported(path))


def test_no_two_test_files_share_a_name():
    """pytest imports them by it, and benchmarks/mutants.py finds them so."""
    names = [path.name for path in ROOT.parent.joinpath("tests").rglob("test_*.py")]
    assert len(names) == len(set(names))


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


MOST_MODULES = 146  # of ours that one plan imports (what profiling leaves is one more), a sixth of a millisecond each: late what a question does not need (docs/decisions/0011-start.md)


@pytest.mark.parametrize("options", [["--format", "json", "--dry-run"], []])
def test_the_main_command_imports_no_heavy_library_and_few_modules(options, tmp_path):
    code = (
        f"import sys; sys.argv = ['plan', '--gpu', 'rtx4090', '--count', '2', '--model', 'qwen3-vl-32b-awq', *{options}]\n"
        "from planner.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'huggingface_hub', 'pydantic', 'rich', 'torch', 'argparse', 'difflib', 'logging', 'yaml'} & set(sys.modules)\n"
        "ours = sorted(name for name in sys.modules if name.partition('.')[0] == 'planner')\n"
        f"sys.exit(f'imported {{heavy}}' if heavy else f'imported {{len(ours)}} of ours: {{ours}}' if len(ours) > {MOST_MODULES} else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# What reads an engine's own package from outside: questions that only this engine answers, or files that only it reads. Each with its reason.
OWN = {
    "catalogue/gguf.py": "a GGUF file's types are llama.cpp's table",
    "catalogue/resolve.py": "a checkpoint is described as vLLM loads it",
    "cli/check.py": "--vllm-version: its releases",
    "cli/defaults.py": "vllm-version: its releases",
    "cli/hints.py": "a typed flag may be vLLM's",
    "cli/verify.py": "verify asks vLLM",
    "cli/options.py": "pins are spelled as vLLM's flags, --vllm-version has its releases",
    "cli/values.py": "--vllm-version: its newest release",
    "grid/devices.py": "what vLLM's ledger asks of GPUs, as arrays",
    "grid/servers.py": "a sweep is vLLM's ledger over arrays",
    "grid/speed.py": "a sweep is vLLM's speed over arrays",
    "questions/asked.py": "vllm_version: its releases",
    "questions/vllm_capacity.py": "what vLLM's ledger admits",
    "questions/command_line.py": "pins are spelled as vLLM's flags",
    "questions/plan.py": "the request that is measured and verified",
    "questions/question.py": "pins are a question's keys",
    "questions/replay.py": "only vLLM's speed of many users was fitted",
    "questions/replicas.py": "only vLLM's speed of many users was fitted",
    "questions/sessions.py": "the cache of its prefixes",
    "questions/shortlist.py": "the releases that an old GPU needs",
    "questions/stack_file.py": "pins are a stack file's keys",
}
INSIDE = ("engines", "architecture")  # where engines are, and what says which checkpoints vLLM can load
SETTINGS = re.compile(r"--?vllm-version|vllm-version")  # a setting's name, which the contract has


def spelled() -> re.Pattern[str]:
    """Names, titles, programs and commands of all engines, as words."""
    names = {
        name for engine in ENGINES.values() for name in (engine.name, engine.title, *engine.serving, *(each.command[0] for each in engine.serving.values()))
    }
    names |= {path.name for path in (ROOT / "engines").iterdir() if (path / "engine.py").exists()}
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})(?!\w)", re.IGNORECASE)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """String constants of a file that are no docstrings, with their lines."""
    bodies = [body for node in nodes(path) if isinstance(body := getattr(node, "body", None), list)]
    docstrings = {id(node.value) for body in bodies for node in body if isinstance(node, ast.Expr)}
    for node in nodes(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_no_module_spells_an_engines_name():
    pattern = spelled()
    wrong = [
        f"{path.relative_to(ROOT.parent)}:{line}: {text[:80]!r}"
        for path in sorted(ROOT.rglob("*.py"))
        if path.relative_to(ROOT).parts[0] not in INSIDE and path.parent != ROOT
        for line, text in texts(path)
        if pattern.search(SETTINGS.sub("", text))
    ]
    assert not wrong, "\n".join(wrong)


def test_few_modules_read_an_engines_own_package():
    packages = {path.name for path in (ROOT / "engines").iterdir() if (path / "engine.py").exists()}
    reading = {"/".join(own) + ".py" for own, to in modules() if own[0] != "engines" and to[0] == "engines" and len(to) > 1 and to[1] in packages}
    assert reading == set(OWN), "\n".join(sorted(reading ^ set(OWN)))
