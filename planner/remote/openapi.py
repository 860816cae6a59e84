"""What `plan serve` answers, as OpenAPI 3.1: from the schemas of the questions and their answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from planner.remote.tools import TOOLS, Tool
from planner.version import VERSION

PREFIX = "/v2"  # as the version of the JSON contract
_REFUSALS = {
    HTTPStatus.BAD_REQUEST: "The body is no JSON.",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not come in time.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not said to be JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The question is wrong: what, and the nearest thing that works.",
    HTTPStatus.TOO_MANY_REQUESTS: "More than the rate.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A fault of plan itself.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Too many questions wait, or the Hub cannot be reached.",
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "hint"],
            "additionalProperties": False,
            "properties": {"message": {"type": "string"}, "hint": {"type": "string"}},
        }
    },
}


def described() -> dict[str, object]:
    """The document."""
    schemas: dict[str, object] = {"Error": _ERROR}
    paths: dict[str, object] = {
        "/healthz": {"get": {"operationId": "health", "summary": "Whether the server is awake.", "responses": {"200": _content({"type": "object"}, "It is.")}}}
    }
    for tool in TOOLS.values():
        paths[f"{PREFIX}/{tool.name}"] = {"post": _operation(tool)}
        schemas |= _lifted(f"{tool.name}.arguments", tool.input_schema) | _lifted(f"{tool.name}.answer", tool.output_schema)
    return {
        "openapi": "3.1.0",
        "info": {"title": "plan", "version": VERSION, "summary": "What can this hardware serve, with which exact flags, and how sure are we?"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(tool: Tool) -> dict[str, object]:
    refusals = {str(int(status)): _content({"$ref": "#/components/schemas/Error"}, says) for status, says in _REFUSALS.items()}
    return {
        "operationId": tool.name,
        "summary": tool.says,
        "requestBody": {"required": True, **_json({"$ref": f"#/components/schemas/{tool.name}.arguments"}, tool.example)},
        "responses": {"200": _content({"$ref": f"#/components/schemas/{tool.name}.answer"}, "The answer, whatever its verdict.")} | refusals,
    }


def _content(schema: dict[str, object], says: str) -> dict[str, object]:
    return {"description": says, **_json(schema)}


def _json(schema: dict[str, object], example: Mapping[str, object] | None = None) -> dict[str, object]:
    return {"content": {"application/json": {"schema": schema} | ({"example": example} if example else {})}}


def _lifted(name: str, schema: dict[str, object]) -> dict[str, object]:
    """A schema among the document's components, and its parts beside it: a reference counts from the document's root."""
    text = json.dumps({key: value for key, value in schema.items() if key not in ("$schema", "$id")})
    whole = json.loads(text.replace('"#/$defs/', f'"#/components/schemas/{name}.'))
    parts = whole.pop("$defs", {})
    return {name: whole} | {f"{name}.{part}": value for part, value in parts.items()}
