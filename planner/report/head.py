"""What every JSON answer begins with, and how it is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from planner.version import VERSION

if TYPE_CHECKING:
    from planner.report.contract_parts import AnswerJson

SCHEMA: Literal[2] = 2
"""The version of the contract; docs/json.md says when it rises."""

HEAD: AnswerJson = {"schema": SCHEMA, "plan_version": VERSION}
"""What every answer begins with."""


def json_text(answer: object) -> str:
    """An answer as JSON, as people and diffs read it."""
    return json.dumps(answer, indent=2)
