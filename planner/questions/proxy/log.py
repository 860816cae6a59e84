"""Why LiteLLM does not start or answers with an error, by the messages that it writes, and what helps.

Messages: litellm 1.106.2 router.py, proxy/route_llm_request.py, proxy/auth, exceptions.py; uvicorn, httpx.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from planner.engines import ENGINES, Engine, Unanswered
from planner.engines.causes import Finding, causes, plain, port_in_use
from planner.facts.observed import Cause, Explained, Observed, Remedy
from planner.text import shown

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue

NAME = "litellm"
CAUSES = causes(
    (
        ("no-key", r"no master key is set|refused to start: .{0,80}key|publicly known.{0,40}master key"),
        ("callback", r"Could not import \S+ from|No module named '?custom_callbacks|proxy_handler_instance"),
        ("bad-value", r"LLM Provider NOT provided|Unmapped LLM provider"),
        ("timeout", r"litellm\.Timeout|APITimeoutError|Timeout passed=|[Rr]equest timed out"),
        ("cooldown", r"No deployments? available for selected model|No healthy deployments? available"),
        (
            "refused-request",
            r"set .?continue_final_message.? when|set .?add_generation_prompt.? to True when|ContextWindowExceededError|maximum context length|exceeds the available context size",
        ),
        ("unknown-model", r"Invalid model name passed in|litellm\.NotFoundError|try pulling it first|[Tt]he model .{1,200} does not exist"),
        (
            "no-key",
            r"No connected db|Invalid proxy server token|No api key passed in|Missing credentials|api_key client option must be set|litellm\.AuthenticationError",
        ),
        (
            "unreachable",
            r"Connection refused|Connection error|Cannot connect to host|All connection attempts failed|Name or service not known|APIConnectionError|curl: \(7\)",
        ),
        ("other", r"litellm\.\w*(?:Error|Exception)\b"),
    ),
    started=r"Uvicorn running on|Application startup complete|Proxy initialized with Config",
    own=r"\blitellm\b|\bLiteLLM\b|No deployments available for selected model|LLM Provider NOT provided|Invalid model name passed in|proxy_handler_instance"
    r"|\bcustom_callbacks\b|No connected db|`?continue_final_message`?|add_generation_prompt|^curl: \(7\)",
)
_QUOTED = re.compile(r"(?:litellm\.)?\b\w{1,60}Error: (?:\w{1,60}Error: )?(\w{1,60}?)Exception - (.+)")
_WAITED = re.compile(r"(?:timeout value=|Timeout passed=|after )(\d{1,9}(?:\.\d{0,9})?)")
_RETRIED = re.compile(r"LiteLLM Retried: (\d{1,9}) times")
_ASKED = re.compile(r"passed in model=([\w./:-]{0,119}[\w-])")
_LISTED = re.compile(r'"id":\s*"([^"]{1,200})"[^{}]{0,200}"object":\s*"model"')
_EMPTY = re.compile(r'"data":\s*\[\]')
_AGAIN = re.compile(r"[Tt]ry again in (\d{1,9}(?:\.\d{0,9})?) seconds")


def read_log(lines: Iterable[str]) -> Observed | None:
    """What a log of LiteLLM says; None where no line is its own."""
    finding, seen, listed = Finding(CAUSES), Observed(engine=NAME), Finding(CAUSES)
    names: list[str] = []
    for line in lines:
        text = plain(line)
        finding.take(text)
        if '"object"' in text and '"data"' in text:  # an answer of /v1/models
            listed.started = True
            names += _LISTED.findall(text)
            if _EMPTY.search(text):
                listed.ranked = (0, Cause("unknown-model", text[:200]))
    if listed.started and not finding.is_own:
        seen.started, seen.root_cause, seen.model = True, listed.cause, ", ".join(map(shown, names[:5])) or None
        return seen
    seen.started, seen.root_cause = finding.started, finding.cause
    return seen if finding.is_own else None


def explain(observed: Observed, catalogue: Catalogue) -> Explained:
    """What a message calls for; where it quotes the server behind, what that calls for too."""
    cause = observed.root_cause
    if cause is None:
        return Explained(observed=observed)
    usual: Callable[[str], Iterator[Remedy]] = _BY_CODE.get(cause.code, _other)
    return Explained(observed=observed, remedies=(*usual(cause.message), *_of_server(cause, catalogue)))


def _of_server(cause: Cause, catalogue: Catalogue) -> Iterator[Remedy]:
    """What the server's own words call for, which the message quotes."""
    if not (match := _QUOTED.search(cause.message)):
        return
    for engine in _behind(match[1].lower()):
        read = engine.read_log([match[2]])
        if not isinstance(read, Unanswered) and read.root_cause and read.root_cause.code not in ("other", "port-in-use"):
            yield from (
                Remedy(f"{engine.title}: {remedy.change}", remedy.arguments)
                for remedy in engine.explain(read, model="", gpu=None, count=0, catalogue=catalogue).remedies
            )
            return


def _behind(provider: str) -> Iterator[Engine]:
    """Engines that a provider's name stands for."""
    for engine in ENGINES.values():
        if provider in {prefix for serving in engine.serving.values() for prefix in (serving.proxy_prefix, serving.embedding_prefix)}:
            yield engine


def _no_key(text: str) -> Iterator[Remedy]:
    if "master key" in text or "publicly" in text:
        yield Remedy('a key before it starts: export LITELLM_MASTER_KEY="sk-$(openssl rand -hex 24)"; clients send it as their API key')
    elif re.search(r"Missing credentials|api_key client option", text):
        yield Remedy("the openai/ provider asks for a key, also of a server that needs none: api_key: none in the route's litellm_params")
    else:
        yield Remedy("send the proxy's master key as the client's API key (EMPTY is none): export CUSTOM_MODEL_API_KEY=$LITELLM_MASTER_KEY")


def _callback(text: str) -> Iterator[Remedy]:
    yield Remedy("LiteLLM imports the callback from the folder of its configuration: put custom_callbacks.py there, and in a container mount it beside that")
    yield Remedy("litellm_settings: {callbacks: custom_callbacks.proxy_handler_instance}; plan check CONFIG.yaml says whether it is found")


def _no_provider(text: str) -> Iterator[Remedy]:
    prefixes = sorted({serving.proxy_prefix for engine in ENGINES.values() for serving in engine.serving.values()})
    yield Remedy(f"the route's model needs its provider before it: {', '.join(f'{prefix}/…' for prefix in prefixes)}; plan check CONFIG.yaml names the routes")


def _timeout(text: str) -> Iterator[Remedy]:
    waited, retried = _WAITED.search(text), _RETRIED.search(text)
    said = f"the server took longer than {float(waited[1]):,.0f} s" if waited else "the server took longer than the timeout"
    if retried and int(retried[1]):
        said += f", and was sent the prompt {int(retried[1]) + 1} times"
    yield Remedy(f"{said}: litellm_settings: {{num_retries: 0, request_timeout: …}}, as long as its slowest answer (plan writes it into litellm.yaml)")
    yield Remedy("a shorter prompt, streamed answers, or less at a time: a prompt that waits behind others counts")


def _cooldown(text: str) -> Iterator[Remedy]:
    pause = f" for {again[1]} s" if (again := _AGAIN.search(text)) else ""
    yield Remedy(f"one error before put the only deployment aside{pause}: the cause stands above in the log (401, 404 or a failed start)")
    yield Remedy("with one deployment a name: router_settings: {disable_cooldowns: true}")


def _unknown_model(text: str) -> Iterator[Remedy]:
    asked = f" {shown(match[1])}" if (match := _ASKED.search(text)) else ""
    if "Invalid model name" in text:
        yield Remedy(f'no route has the name{asked}: curl -H "Authorization: Bearer $LITELLM_MASTER_KEY" http://127.0.0.1:8080/v1/models lists them')
        return
    if _EMPTY.search(text):
        yield Remedy("it answers, and has no model: model_list of its configuration is empty, or another configuration was read")
        return
    yield Remedy("the server behind knows no such model: its /v1/models lists what it serves, and the route's model must be that, behind the provider's prefix")
    yield Remedy("api_base with /v1 for servers of the OpenAI routes; plan check CONFIG.yaml judges each route")


def _unreachable(text: str) -> Iterator[Remedy]:
    ports = ", ".join(f"{engine.title} {next(iter(engine.serving.values())).default_port}" for engine in ENGINES.values())
    yield Remedy(f"nothing answers at the route's api_base: start the server, and name its port (by itself {ports})")
    yield Remedy("from a container localhost is the container itself: the service's name of compose, or host.docker.internal")


def _refused(text: str) -> Iterator[Remedy]:
    if "add_generation_prompt" in text or "continue_final_message" in text:
        lacks = "no callback sets it" if "add_generation_prompt" in text else "something sets it on every request"
        yield Remedy(f"only a request that ends with an assistant message may ask to continue it, and must for Mistral's templates: {lacks}")
        yield Remedy("the callback that plan writes (custom_callbacks.py) sets it by the last message; its name must stand in LiteLLM's log at the start")
        return
    yield Remedy("the prompt is longer than the server's context: a longer one there, or fewer messages")


def _port(text: str) -> Iterator[Remedy]:
    yield from port_in_use(text, 4000, "--port")


def _other(text: str) -> Iterator[Remedy]:
    yield Remedy("the server's own log says more: plan explain LOG of it")


_BY_CODE: dict[str, Callable[[str], Iterator[Remedy]]] = {
    "no-key": _no_key,
    "callback": _callback,
    "bad-value": _no_provider,
    "timeout": _timeout,
    "cooldown": _cooldown,
    "unknown-model": _unknown_model,
    "unreachable": _unreachable,
    "refused-request": _refused,
    "port-in-use": _port,
}
