"""Doors for programs: agents ask by MCP (`plan mcp`), anything else by HTTP (`plan serve`). Both ask the functions of `planner.api`."""
