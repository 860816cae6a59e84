"""A copy of the program that a test edits as CONTRIBUTING.md says, and asks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import ROOT

RECIPES = dict(re.findall(r"(?ms)^### (.+?)\n(.+?)(?=^##|\Z)", (ROOT / "CONTRIBUTING.md").read_text()))
_STEP = re.compile(r"^\d+\. ((?:`[^`]+`(?:, | and |,\n *)?)+)", re.MULTILINE)


def steps(recipe: str) -> list[str]:
    """The files and commands that the steps of a recipe begin with, in their order."""
    return [name for start in _STEP.findall(RECIPES[recipe]) for name in re.findall("`([^`]+)`", start)]


def files(recipe: str) -> set[str]:
    """The files that a recipe changes or makes."""
    return {step for step in steps(recipe) if " " not in step}


def commands(recipe: str) -> list[str]:
    """The commands of a recipe."""
    return [step for step in steps(recipe) if " " in step]


@dataclass
class Checkout:
    """A copy of the package and its YAML; `edited` are the files that were changed or made, from its top."""

    folder: Path
    edited: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Copy."""
        shutil.copytree(ROOT / "planner", self.folder / "planner", ignore=shutil.ignore_patterns("__pycache__"))
        for path in (*ROOT.glob("*.yaml"), ROOT / "pyproject.toml"):
            shutil.copy(path, self.folder)

    def make(self, name: str, text: str) -> None:
        """A new file."""
        assert not (self.folder / name).exists()
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_text(text)
        self.edited.add(name)

    def replace(self, name: str, pattern: str, replacement: str) -> None:
        """Replace what a pattern matches first; `\\g<0>` stands for it."""
        path = self.folder / name
        text, count = re.subn(pattern, replacement, path.read_text(), count=1)
        assert count == 1, (name, pattern)
        path.write_text(text)
        self.edited.add(name)

    def behind(self, name: str, pattern: str, text: str) -> None:
        """Insert text behind what a pattern matches first."""
        self.replace(name, pattern, r"\g<0>" + text.replace("\\", r"\\"))

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run this Python with words behind it."""
        command = [sys.executable, *argv]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(self.folder)})

    def run_commands(self, recipe: str) -> None:
        """Run what a recipe says is to be run."""
        for command in commands(recipe):
            done = self.run(*command.split()[1:])
            assert done.returncode == 0, done.stdout + done.stderr

    def plan(self, *words: str) -> str:
        """What `plan` prints."""
        done = self.run("-m", "planner", *words)
        return done.stdout + done.stderr

    def answer(self, *words: str) -> dict[str, Any]:
        """What `plan --format json` prints."""
        done = self.run("-m", "planner", *words, "--format", "json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def model(self, **config: object) -> str:
        """A folder with the config.json of a model of 8 billion parameters, but for what is said."""
        known = json.loads((ROOT / "tests/data/configs/Qwen--Qwen3-8B.json").read_text())
        folder = self.folder / "model"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(known | config))
        return "./model"
