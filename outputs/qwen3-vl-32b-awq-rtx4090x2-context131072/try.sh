#!/usr/bin/env bash
# Is QuantTrio/Qwen3-VL-32B-Instruct-AWQ on 2x GeForce RTX 4090 there for an agent? Each model answers, and calls a tool where it can, at once and streamed; exit 1 where one does not.
# shellcheck disable=SC2310,SC2312 # an answer that is not good is counted, the others are still asked for
set -euo pipefail
proxy=http://127.0.0.1:8080
most=840 # seconds: a model may have to be loaded first; PLAN_TRY_TIMEOUT says otherwise

for tool in curl python3; do
  command -v "${tool}" >/dev/null || { echo "try.sh: ${tool} is needed" >&2; exit 2; }
done
: "${LITELLM_MASTER_KEY:?export the master key of the proxy first}"
folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
failed=0

# read_answer WHAT STATUS ANSWER COMPLAINT SERVICE PARSER: one line about an answer; 1 where it is not what was asked for
read_answer() {
  python3 - "$@" <<'PYTHON'
"""Says in one line what an answer of the proxy is worth; exit 1 where it is not what was asked for. Any Python 3 of today runs it.

Arguments: what was asked (text, tools, stream, embedding), the HTTP status (000: no answer), the file with the answer, that with curl's
own words, the service's name for stack.sh, and the tool parser its command names (empty where it names none).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# How models write calls: where it is still in the text, the server's parser did not read it.
MARKS = ("<tool_call", "[TOOL_CALLS]", "<function", "<|tool_call", "<|python_tag|>", "<minimax:tool_call", '{"name"', "[get_weather(")


class BadAnswerError(Exception):
    """What is wrong, and what to do."""


def one_line(text: str, longest: int = 300) -> str:
    """Text that fits behind a few words."""
    return " ".join(text.split())[:longest]


def said(text: str) -> str:
    """The server's own words about an error: LiteLLM and vLLM wrap them in JSON, more than once."""
    try:
        data: Any = json.loads(text)
    except ValueError:
        return one_line(text)
    while isinstance(data, dict):
        data = data.get("error") or data.get("detail") or data.get("message") or json.dumps(data)
    return one_line(str(data))


def refused(status: str, text: str, service: str, parser: str) -> str:
    """Why the proxy or the server behind it gave an error, in plain words."""
    words = said(text)
    low = words.lower()
    if "tool choice requires" in low or "tool-call-parser" in low:
        what = f"the server runs without --enable-auto-tool-choice --tool-call-parser {parser or 'NAME'}: restart it with the command of this folder"
    elif status in {"401", "403"} or "proxy server token" in low or "authentication" in low or "no api key" in low:
        what = "LITELLM_MASTER_KEY is not the key that the proxy was started with"
    elif "invalid model" in low or "model_not_found" in low or "does not exist" in low:
        what = "the proxy or the server runs with other files than these: restart both"
    elif status.startswith("5") or "connection" in low:
        what = f"the server of {service} is down or still loading: ./stack.sh logs {service}"
    else:
        what = f"./stack.sh logs {service} may say more"
    return f"HTTP {status}: {words} - {what}"


def assembled(text: str, service: str, parser: str) -> tuple[dict[str, Any], str]:
    """One message out of the events of a stream, and why it ended."""
    events = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    if not events:
        raise BadAnswerError(f"a stream was asked for, this came: {said(text)}")
    content, reason = "", ""
    calls: dict[int, dict[str, str]] = {}
    for chunk in (json.loads(event) for event in events if event != "[DONE]"):
        if chunk.get("error"):
            raise BadAnswerError(refused(str(chunk["error"].get("code") or "200"), json.dumps(chunk), service, parser))
        for choice in (chunk.get("choices") or [])[:1]:
            delta = choice.get("delta") or {}
            content += delta.get("content") or ""
            reason = choice.get("finish_reason") or reason
            for part in delta.get("tool_calls") or []:
                call = calls.setdefault(part.get("index") or 0, {"name": "", "arguments": ""})
                for key in call:
                    call[key] += (part.get("function") or {}).get(key) or ""
    if not reason:
        raise BadAnswerError(f"the stream broke off before its end: ./stack.sh logs {service}")
    return {"content": content, "tool_calls": [{"function": calls[index]} for index in sorted(calls)]}, reason


def called(message: dict[str, Any], reason: str, parser: str) -> str:
    """The call in words. Raises BadAnswerError where there is none that an agent could make."""
    calls, text = message.get("tool_calls") or [], one_line(message.get("content") or "", 200)
    if not calls and reason == "length":
        raise BadAnswerError("max_tokens was used up before a tool was called, by reasoning or a long answer")
    if not calls and any(mark in text for mark in MARKS):
        who = f"the tool parser {parser}" if parser else "the server"
        raise BadAnswerError(f"the call stayed in the text: {text} - {who} does not read what this model writes; its model card names the right parser")
    if not calls:
        raise BadAnswerError(f"it answered in text and called no tool: {text or '(nothing)'} - try again; a model that never calls is of no use to an agent")
    function = calls[0].get("function") or {}
    name, written = str(function.get("name")), str(function.get("arguments"))
    try:
        arguments = json.loads(written)
    except ValueError:
        raise BadAnswerError(f"it called {name} with arguments that are no JSON: {one_line(written, 200)}") from None
    if name != "get_weather" or not isinstance(arguments, dict) or "city" not in arguments:
        raise BadAnswerError(f"it called {name} with {one_line(written, 200)}; get_weather with a city was asked for")
    return f"called get_weather with {one_line(written, 200)}"


def judged(what: str, text: str, service: str, parser: str) -> str:
    """What an answer without an error holds, in words. Raises BadAnswerError where it is not what was asked for."""
    if what == "stream":
        message, reason = assembled(text, service, parser)
        return called(message, reason, parser) + ", streamed"
    data = json.loads(text)
    if what == "embedding":
        return f"{len(data['data'][0]['embedding'])} numbers"
    message, reason = data["choices"][0]["message"], data["choices"][0].get("finish_reason")
    if what == "tools":
        return called(message, reason, parser)
    thought, answer = message.get("reasoning") or message.get("reasoning_content"), one_line(message.get("content") or "", 200)
    if not thought and not answer:
        raise BadAnswerError(f"an empty answer (finish_reason {reason})")
    return f"{'reasoned, then: ' if thought else ''}{answer or '(cut while it reasoned)'}"


def verdict(arguments: list[str]) -> str:
    """What was got, in words. Raises BadAnswerError where it is not what was asked for."""
    what, status, answer, complaint, service, parser = arguments
    text = Path(answer).read_text("utf-8", "replace")
    if status == "000":
        words = one_line(Path(complaint).read_text("utf-8", "replace"))
        raise BadAnswerError(f"the proxy gave no answer ({words}) - ./stack.sh status says what runs, ./stack.sh start starts it")
    if not status.startswith("2"):
        raise BadAnswerError(refused(status, text, service, parser))
    try:
        return judged(what, text, service, parser)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise BadAnswerError(f"that is no answer of the OpenAI API: {one_line(text, 200)}") from None


if __name__ == "__main__":
    try:
        print(f"ok: {verdict(sys.argv[1:])}")
    except BadAnswerError as fault:
        print(f"FAILED: {fault}")
        sys.exit(1)
PYTHON
}

# ask MODEL WHAT SERVICE PARSER PATH BODY: one request, as an agent makes it; the key goes in by standard input, no process list shows it
ask() {
  local model=$1 what=$2 service=$3 parser=$4 path=$5 body=$6 status
  : >"${folder}/answer"
  status=$(curl --silent --show-error --max-time "${PLAN_TRY_TIMEOUT:-${most}}" --noproxy '*' --output "${folder}/answer" --write-out '%{http_code}' \
    --header @- --header 'Content-Type: application/json' --data "${body}" "${proxy}${path}" \
    <<<"Authorization: Bearer ${LITELLM_MASTER_KEY}" 2>"${folder}/complaint") || status=000
  printf '%s, %s: ' "${model}" "${what}"
  read_answer "${what}" "${status}" "${folder}/answer" "${folder}/complaint" "${service}" "${parser}" || failed=$((failed + 1))
}

ask qwen3-vl-32b-awq text chat hermes /v1/chat/completions '{"model": "qwen3-vl-32b-awq", "messages": [{"role": "user", "content": "Answer in one word: are you there?"}], "max_tokens": 32}'
ask qwen3-vl-32b-awq tools chat hermes /v1/chat/completions '{"model": "qwen3-vl-32b-awq", "messages": [{"role": "user", "content": "What is the weather in Paris now? Use the tool."}], "tools": [{"type": "function", "function": {"name": "get_weather", "description": "The weather in a city, now", "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Name of the city"}}, "required": ["city"]}}}], "tool_choice": "auto", "max_tokens": 4096}'
ask qwen3-vl-32b-awq stream chat hermes /v1/chat/completions '{"model": "qwen3-vl-32b-awq", "messages": [{"role": "user", "content": "What is the weather in Paris now? Use the tool."}], "tools": [{"type": "function", "function": {"name": "get_weather", "description": "The weather in a city, now", "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Name of the city"}}, "required": ["city"]}}}], "tool_choice": "auto", "max_tokens": 4096, "stream": true}'

if ((failed)); then
  echo "try.sh: ${failed} of 3 failed" >&2
  exit 1
fi
