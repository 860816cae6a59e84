"""`plan mcp`: the questions as tools of the Model Context Protocol, on standard input and output, by the protocol's own SDK."""

from __future__ import annotations

import json
import logging

import anyio
import anyio.to_thread
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as Listed

from planner.errors import PlannerError, one_line, our_fault
from planner.remote.tools import TOOLS, Answered, Tool
from planner.version import VERSION

INSTRUCTIONS = (
    "plan says, before anything is downloaded, whether GPUs can serve a large language model, with which flags, for how many users, how fast, at what "
    "cost and how sure that is. Give names as people write them (rtx4090, qwen3-8b, Qwen/Qwen3-8B); an unknown one is answered with the nearest. Repeat "
    "verdicts as they stand: starts is sure, tight may fail, unlikely and does_not_start do not, unknown is not known. Intervals belong to the figures."
)


def server() -> Server[dict[str, object]]:
    """The server of the protocol."""
    return Server("plan", version=VERSION, title="plan", instructions=INSTRUCTIONS, on_list_tools=_list, on_call_tool=_call)


def serve() -> None:
    """Answer on standard input and output until they are closed."""
    logging.getLogger("mcp").setLevel(logging.ERROR)
    anyio.run(_serve)


async def _serve() -> None:
    served = server()
    async with stdio_server() as (read, write):
        await served.run(read, write, served.create_initialization_options())


async def _list(_context: object, _params: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(tools=[_listed(tool) for tool in TOOLS.values()])


def _listed(tool: Tool) -> Listed:
    return Listed(
        name=tool.name,
        description=tool.says,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
    )


async def _call(_context: object, params: CallToolRequestParams) -> CallToolResult:
    """The answer, or what is wrong with the question, in one line: both are for the model to read."""
    if (tool := TOOLS.get(params.name)) is None:
        return _refused(PlannerError(f"there is no tool {params.name[:60]!r}", f"known: {', '.join(TOOLS)}"))
    try:
        answered: Answered = await anyio.to_thread.run_sync(tool.answer, params.arguments or {})
    except PlannerError as error:
        return _refused(error)
    except Exception as error:
        return _refused(our_fault(error))
    return CallToolResult(content=[TextContent(text=answered.text)], structured_content=json.loads(json.dumps(answered.json)))


def _refused(error: PlannerError) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=one_line(error.message, error.hint))], is_error=True)
