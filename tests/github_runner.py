"""A job of GitHub's for a composite action: the folders and files that its steps are given, and how it runs a step of bash."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml


class Runner:
    """A job in `workspace`, whose own files lie in `folder`; `action` is the action's folder."""

    def __init__(self, folder: Path, workspace: Path, action: Path):
        self.workspace, self.temp, self.summary, self.outputs = workspace, folder / "temp", folder / "summary", {}
        self.temp.mkdir()
        self.folder, self.action = folder, action
        self.read = yaml.safe_load((action / "action.yml").read_text())
        self.steps = {step["name"]: step for step in self.read["runs"]["steps"]}

    def run(self, name: str, inputs: dict[str, str], base: str = "") -> subprocess.CompletedProcess[str]:
        """Run a step: its exit code and what it printed."""
        step, given = self.steps[name], {key: value.get("default", "") for key, value in self.read["inputs"].items()} | inputs
        known = {f"inputs.{key}": value for key, value in given.items()} | self.outputs
        known |= {"github.action_path": str(self.action), "github.event.pull_request.base.sha": base, "steps.python.outputs.python-path": sys.executable}
        env = {key: re.sub(r"\$\{\{ (.+?) \}\}", lambda match: known[match[1]], value) for key, value in step["env"].items()}
        script, output = self.folder / "step.sh", self.folder / "output"
        script.write_text(step["run"])
        output.write_text("")
        files = {"RUNNER_TEMP": str(self.temp), "GITHUB_STEP_SUMMARY": str(self.summary), "GITHUB_OUTPUT": str(output)}
        command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)]
        done = subprocess.run(command, cwd=self.workspace, env={**os.environ, **files, **env}, capture_output=True, text=True, check=False)
        if "id" in step:
            self.outputs |= {f"steps.{step['id']}.outputs.{key}": value for key, _, value in (line.partition("=") for line in output.read_text().splitlines())}
        return done

    def use(self, words: str) -> None:
        """What the step that installs leaves, without the network: a program that is these words of a shell."""
        program = self.temp / "plan-check/bin/plan"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\n{words} "$@"\n')
        program.chmod(0o755)
