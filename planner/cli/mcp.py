"""`plan mcp`: a server for agents, on standard input and output."""

from __future__ import annotations

from planner.cli.command import command
from planner.cli.own_rows import own_rows
from planner.errors import require


@command("mcp")
@own_rows()
def mcp_command() -> None:
    """Answer an agent's questions by the Model Context Protocol, on standard input and output: plan, check, explain, choose, capacity, cost (docs/agents.md)."""
    require("plan mcp", "mcp", "pydantic")
    from planner.remote.mcp import serve

    serve()
