"""Rows as JSON has them: pydantic checked them when they were built, or when a person's own file was read, and types are theirs from `rows.py` on."""

from __future__ import annotations

from typing import Any

RowData = dict[str, Any]
"""One row, or a part of one."""
