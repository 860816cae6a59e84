"""`plan mcp` as an agent's program uses it: started by the SDK's own client, asked over standard input and output."""

import sys

import anyio
import jsonschema
import pytest
from mcp import Client, StdioServerParameters, stdio_client

from planner.remote import mcp as door
from planner.remote.tools import TOOLS
from tests.conftest import ROOT


def asked(questions, *, command: bool = False):
    """What a client hears: the list of tools, and its answers."""

    async def ask():
        server = door.server()
        if command:
            server = stdio_client(StdioServerParameters(command=sys.executable, args=["-m", "planner", "mcp"], env={"PYTHONPATH": str(ROOT)}))
        async with Client(server) as client:
            return await client.list_tools(), [await client.call_tool(name, arguments) for name, arguments in questions]

    return anyio.run(ask)


def test_the_command_answers_the_sdks_client():
    listed, (planned, refused) = asked(
        [("plan", TOOLS["plan"].example), ("plan", {"gpu": "rtx4900", "model": "qwen3-8b"})],
        command=True,
    )
    assert {tool.name for tool in listed.tools} == set(TOOLS)
    assert all(tool.output_schema["type"] == tool.input_schema["type"] == "object" and tool.annotations.read_only_hint for tool in listed.tools)
    assert planned.structured_content["verdict"] == "starts"
    assert "vllm serve" in planned.content[0].text
    assert refused.is_error
    assert refused.content[0].text == "plan: GPU 'rtx4900' is not in the catalogue; did you mean rtx4090, rtx4090d?"


def test_answers_are_as_their_schemas_say():
    listed, answers = asked([(tool.name, tool.example) for tool in TOOLS.values()])
    for tool, answer in zip(listed.tools, answers, strict=True):
        assert not answer.is_error, answer.content
        jsonschema.validate(answer.structured_content, tool.output_schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(("name", "arguments"), [("nope", {}), ("plan", {}), ("check", {"command": "\x1b[2J", "gpu": "rtx4090"})])
def test_a_wrong_question_is_an_answer_of_one_line(name, arguments):
    _, (answer,) = asked([(name, arguments)])
    assert answer.is_error
    assert answer.content[0].text.startswith("plan: ")
    assert answer.content[0].text.isprintable()


def test_a_fault_of_ours_is_told_without_its_trace(monkeypatch):
    monkeypatch.setitem(door.TOOLS, "plan", broken())
    _, (answer,) = asked([("plan", {"model": "x", "gpu": "y"})])
    assert answer.is_error
    assert "a fault of plan itself: ZeroDivisionError" in answer.content[0].text
    assert "Traceback" not in answer.content[0].text


def broken():
    from dataclasses import replace

    return replace(TOOLS["plan"], takes=TOOLS["plan"].ask, ask=lambda **_: 1 / 0)
