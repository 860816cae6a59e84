"""The house: imports run one way only (DESIGN section 1), heavy libraries are imported where they are used."""

import ast
import subprocess
import sys
from pathlib import Path

import planner

ORDER = [
    ["units", "errors", "enums", "text", "question_words", "secrets"],
    ["causes"],
    ["shell", "log", "shards", "journal", "interrupt"],
    ["model", "hardware", "config"],
    ["engines"],
    ["weights"],
    ["packing"],
    ["kvcache"],
    ["memory"],
    ["work"],
    ["speed", "queueing"],
    ["choice", "command"],
    ["reasons"],
    ["search"],
    ["alternatives"],
    ["plan"],
    ["estimate"],
    ["replicas"],
    ["capacity"],
    ["curves"],
    ["choose", "grid"],
    ["grid_speed"],
    ["machines"],
    ["front"],
    ["placement"],
    ["deployment"],
    ["local"],
    ["gguf", "mlx", "local_speed"],
    ["not_covered"],
    ["changes"],
    ["check", "verify", "comparison"],
    ["remedies"],
    ["explain"],
    ["emit", "report"],
    ["tensors"],
    ["architecture"],
    ["rows", "defaults"],
    ["gpu_names"],
    ["hub", "validation", "calibration", "measure", "checkpoint"],
    ["catalog"],
    ["prices", "detect"],
    ["cli_command", "cli_names"],
    ["source", "stack_file", "cli_options"],
    ["question"],
    ["cli_hints"],
    ["output"],
    ["offers", "sweep", "plan_file", "sizes"],
    ["sweep_files"],
    ["schema", "cli_local"],
    ["cli_stack"],
    ["ways"],
    ["compare"],
    ["cli_check"],
    ["cli_explain", "cli_compare", "cli_emit", "cli_capacity", "cli_choose", "cli_sweep", "cli_list", "cli_config", "cli_completion"],
    ["web", "cli_front", "cli_bench"],
    ["cli_web", "cli_files"],
    ["cli"],
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
ROOT = Path(planner.__file__).parent


def imports(path: Path) -> set[str]:
    """Top-level modules of planner that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("planner"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found & set(LEVEL)


def test_imports_run_one_way():
    for path in ROOT.rglob("*.py"):
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if own in ("__init__", "__main__"):
            continue
        for target in imports(path) - {own}:
            assert LEVEL[target] <= LEVEL[own], f"{path.relative_to(ROOT)} imports {target}, which lies above it"


def test_files_stay_small():
    for path in ROOT.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 330, path


def test_the_main_command_imports_no_heavy_library(tmp_path):
    code = (
        "import sys; sys.argv = ['plan', '--gpu', 'rtx4090', '--model', 'qwen3-8b', '--format', 'json', '--dry-run']\n"
        "from planner.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'huggingface_hub', 'pydantic', 'rich', 'torch', 'argparse', 'difflib', 'logging'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
