"""What every JSON answer begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from planner.version import VERSION

if TYPE_CHECKING:
    from planner.report.contract_parts import AnswerJson

SCHEMA: Literal[2] = 2
"""The version of the contract; docs/json.md says when it rises."""

HEAD: AnswerJson = {"schema": SCHEMA, "plan_version": VERSION}
"""What every answer begins with."""
