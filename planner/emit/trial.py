"""try.sh: what an agent does, once for each model, through the proxy: a word, a tool call, a streamed one. The fixed part is templates/try.sh."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

from planner.emit.lines import template
from planner.emit.litellm import timeout_s
from planner.facts.deployment import Deployment, Service, comment

_HEAD = """\
#!/usr/bin/env bash
# Is {title} there for an agent? Each model answers, and calls a tool where it can, at once and streamed; exit 1 where one does not.
# shellcheck disable=SC2310,SC2312 # an answer that is not good is counted, the others are still asked for
set -euo pipefail
proxy=http://127.0.0.1:{port}
most={seconds} # seconds: a model may have to be loaded first; PLAN_TRY_TIMEOUT says otherwise
"""

_TAIL = """
if ((failed)); then
  echo "try.sh: ${failed} of {count} failed" >&2
  exit 1
fi
"""

_CHAT, _EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city, now",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Name of the city"}}, "required": ["city"]},
    },
}
_MOST_TOKENS = 4096  # of reasoning and a call; at most half of the context


def _limit(service: Service) -> int:
    return max(1, min(_MOST_TOKENS, service.context // 2)) if service.context else _MOST_TOKENS


def _requests(service: Service) -> Iterator[tuple[str, str, dict[str, object]]]:
    """What is asked of a model: what for, where, the body."""
    if service.task == "embedding":
        yield "embedding", _EMBEDDINGS, {"model": service.alias, "input": ["which tools are there?"]}
        return
    word = {"role": "user", "content": "Answer in one word: are you there?"}
    yield "text", _CHAT, {"model": service.alias, "messages": [word], "max_tokens": _limit(service) if service.reasons else 32}
    if service.calls_tools:
        question = {"role": "user", "content": "What is the weather in Paris now? Use the tool."}
        body: dict[str, object] = {"model": service.alias, "messages": [question], "tools": [_TOOL], "tool_choice": "auto", "max_tokens": _limit(service)}
        yield "tools", _CHAT, body
        yield "stream", _CHAT, body | {"stream": True}


def _parser(service: Service) -> str:
    """The tool parser that the command names; empty for other engines."""
    words = service.argv
    return words[words.index("--tool-call-parser") + 1] if "--tool-call-parser" in words else ""


def trial_files(deployment: Deployment) -> dict[str, str]:
    """try.sh."""
    lines = [
        shlex.join(("ask", service.alias, what, service.name, _parser(service), path, json.dumps(body)))
        for service in reversed(deployment.services)
        for what, path, body in _requests(service)
    ]
    seconds = max(timeout_s(service) for service in deployment.services)
    head = _HEAD.format(title=comment(deployment.title), port=deployment.proxy_port, seconds=seconds)
    body = template("try.sh").replace("@reader@", template("read_answer.py"))
    return {"try.sh": head + body + "\n".join(lines) + "\n" + _TAIL.replace("{count}", str(len(lines)))}
