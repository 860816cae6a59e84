"""The skill that an agent is given: its form, and every command in it."""

import re
import shlex

import pytest
import yaml

from planner.facts.verdict import Verdict
from planner.remote.tools import TOOLS
from tests.conftest import ROOT, run_plan

TEXT = (ROOT / "skills" / "plan" / "SKILL.md").read_text()
COMMANDS = re.findall(r"`(plan .+?)`", TEXT)


def test_its_head_says_what_it_is_for():
    head = yaml.safe_load(TEXT.split("---\n")[1])
    assert head["name"] == "plan"
    assert len(head["description"]) < 1024


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in COMMANDS if line != "plan mcp"])
def test_every_command_of_it_is_answered(line, tmp_path):
    done = run_plan(*shlex.split(line)[1:], cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout


def test_it_names_every_tool_and_verdict():
    assert all(name in TEXT for name in TOOLS)
    assert all(f"`{verdict}`" in TEXT for verdict in Verdict)
