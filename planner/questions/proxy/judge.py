"""LiteLLM's configuration -> whether it starts, which routes can't answer and why, what is dangerous or does nothing.

What LiteLLM 1.106.2 does was tried on it; sources are its router.py, router_utils/cooldown_handlers.py, proxy/auth/master_key_boot_check.py and
litellm_core_utils/get_llm_provider_logic.py.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from planner.engines import ENGINES
from planner.errors import nearest
from planner.facts.plan import Problem
from planner.facts.record import dataclass
from planner.facts.verdict import Verdict, Warn
from planner.questions.proxy.config import ProxyConfig, Route, number_of, text_of
from planner.text import shown

TITLE, VERSION = "LiteLLM", "1.106.2"
REQUEST_TIMEOUT_S = 6000.0  # litellm.request_timeout
RETRIES = 2  # openai.DEFAULT_MAX_RETRIES, the router's where nothing is said
COOLDOWN_S = 5.0
_KNOWN_KEY = "sk-1234"  # refused as publicly known
# Names that LiteLLM knows without a provider before them: those of the large services.
_SERVICES = re.compile(r"(?:gpt-|o[1-9](?:-|$)|chatgpt-|text-embedding-|text-davinci|dall-e|whisper|tts-|ft:|claude-|command-|gemini-|codex|\*$)")
_HOME = re.compile(r"https?://(?:localhost|127\.|0\.0\.0\.0|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|host\.docker\.internal|\[::1\]|[\w-]+(?::\d+)?(?:/|$))")
_SAMPLING = (
    "top_k",
    "min_p",
    "repetition_penalty",
    "chat_template_kwargs",
    "extra_body",
    "num_ctx",
    "keep_alive",
    "think",
    "enable_thinking",
    "encoding_format",
)
_DEAD = {
    "merge_consecutive_messages": "LiteLLM knows no such key: two assistant messages arrive as they are, and the server is sent the key",
    "health_check_mode": "LiteLLM reads it nowhere",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRoute:
    """One route, and why it can't answer; empty where it can."""

    name: str
    model: str
    api_base: str
    faults: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyAnswer:
    """Whether the proxy starts, and which of its routes can answer."""

    verdict: Verdict
    routes: tuple[JudgedRoute, ...]
    problems: tuple[Problem, ...]
    """What keeps it from starting, then what keeps routes from answering."""
    warnings: tuple[Warn, ...]
    config: str = ""

    @property
    def exit_code(self) -> int:
        """1 where it does not start or a route can't answer."""
        return 1 if self.problems else 0


@cache
def _facts() -> dict[str, list[str]]:
    read: dict[str, list[str]] = json.loads(files("planner.questions.proxy").joinpath("litellm.json").read_text("utf-8"))
    return read


def judge(config: ProxyConfig, *, name: str = "", folder: Path | None = None, sets_key: bool | None = None) -> ProxyAnswer:
    """Judge a configuration. `folder`: where it lies; `sets_key`: whether what starts it sets the master key, None where that is not to be seen."""
    stops = [*_entries(config), *_master_key(config, sets_key), *_callbacks(config, folder)]
    routes = [
        JudgedRoute(name=route.name, model=route.model, api_base=route.api_base or _own_address(route), faults=tuple(_faults(route)))
        for route in config.routes
        if route.model
    ]
    return ProxyAnswer(
        verdict=Verdict.DOES_NOT_START if stops else Verdict.STARTS,
        routes=tuple(routes),
        problems=(*stops, *(fault for route in routes for fault in route.faults)),
        warnings=tuple(_warnings(config, sets_key)),
        config=name,
    )


def _entries(config: ProxyConfig) -> Iterator[Problem]:
    for number, route in enumerate(config.routes, 1):
        for key, there in (("model_name", route.name), ("litellm_params: model", route.model)):
            if not there:
                yield Problem(code="bad-value", message=f"entry {number} of model_list has no {key}", fix=f"{key}: …")


def _master_key(config: ProxyConfig, sets_key: bool | None) -> Iterator[Problem]:
    if config.general.get("dangerously_permit_weak_or_unset_master_key") is True:
        return
    key = text_of(config.general.get("master_key"))
    fix = 'general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}, and export LITELLM_MASTER_KEY="sk-$(openssl rand -hex 24)"'
    if key == _KNOWN_KEY:
        yield Problem(code="no-key", message=f"master_key is the {_KNOWN_KEY} of the documentation, which {TITLE} refuses", fix=fix)
    elif not key and sets_key is False:
        yield Problem(code="no-key", message=f"{TITLE} refuses to start: no master key is set", fix=fix)


def _callbacks(config: ProxyConfig, folder: Path | None) -> Iterator[Problem]:
    said = config.litellm.get("callbacks")
    for callback in said if isinstance(said, list) else [said]:
        module, dot, _ = text_of(callback).rpartition(".")
        if dot and folder is not None and not (folder / f"{module.replace('.', '/')}.py").is_file():
            message = f"callbacks: {shown(module)}.py is not beside the configuration, from where {TITLE} imports it"
            yield Problem(code="callback", message=message, fix=f"put {shown(module)}.py into the folder of the configuration, and mount it with that")


def _provider(route: Route) -> str:
    """The provider that LiteLLM would take for a route; empty where it finds none, the name itself where a large service has it."""
    if own := text_of(route.params.get("custom_llm_provider")):
        return own
    first, slash, _ = route.model.partition("/")
    if slash and first in _facts()["providers"]:
        return first
    return route.model if _SERVICES.match(route.model) else ""


def _own_routes() -> set[str]:
    """Providers that speak to a server by its own routes, below no /v1."""
    servings = [serving for engine in ENGINES.values() for serving in engine.serving.values() if not serving.api]
    return {prefix for serving in servings for prefix in (serving.proxy_prefix, serving.embedding_prefix) if prefix}


def _own_address(route: Route) -> str:
    """Where a route of such a provider goes when it has no address: to this machine (its main.py, unless a variable names another); empty for others, which are services."""
    provider = _provider(route)
    servings = (serving for engine in ENGINES.values() for serving in engine.serving.values() if not serving.api)
    port = next((serving.default_port for serving in servings if provider in (serving.proxy_prefix, serving.embedding_prefix)), 0)
    return f"http://localhost:{port}" if port else ""


def _faults(route: Route) -> Iterator[Problem]:
    """Why a route can't answer."""
    provider, base = _provider(route), route.api_base
    prefixes = sorted({serving.proxy_prefix for engine in ENGINES.values() for serving in engine.serving.values()})
    if not provider:
        first = route.model.partition("/")[0]
        near = nearest(first, _facts()["providers"], 1, cutoff=0.75) if "/" in route.model else []
        fix = f"model: {near[0]}/…" if near else f"model: PROVIDER/{shown(route.model)}, with {', '.join(prefixes)} as provider"
        yield Problem(
            code="no-provider",
            message=f"{route.place}: {shown(route.model)!r} names no provider, every request is refused (LLM Provider NOT provided)",
            fix=fix,
        )
        return
    if provider in _facts()["needs_base"] and not base:
        yield Problem(code="no-address", message=f"{route.place}: {provider} has no address of its own", fix="api_base: http://127.0.0.1:8000/v1")
    if provider == "openai" and not base and not _SERVICES.match(route.model.partition("/")[2]):
        yield Problem(
            code="no-address",
            message=f"{route.place}: without api_base OpenAI itself is asked for {shown(route.model)}",
            fix="api_base: http://127.0.0.1:8000/v1",
        )
    if provider in _facts()["needs_key"] and base and not text_of(route.params.get("api_key")) and _HOME.match(base):
        message = f"{route.place}: {provider} asks for a key, also of a server that needs none (Missing credentials)"
        yield Problem(code="no-key", message=message, fix="api_key: none")
    if base and not re.match(r"https?://|os\.environ/", base):
        yield Problem(code="bad-value", message=f"{route.place}: api_base is {shown(base)!r}, no address", fix=f"api_base: http://{shown(base)}")
    if re.search(r"/(?:chat/)?completions/?$|/embeddings/?$", base):
        yield Problem(
            code="bad-value",
            message=f"{route.place}: {TITLE} adds the route to api_base by itself, so the server answers 404",
            fix=f"api_base: {base.rpartition('/v1')[0]}/v1",
        )
    if provider in _own_routes() and re.search(r"/(?:v1|api)/?$", base):
        yield Problem(
            code="bad-value",
            message=f"{route.place}: {provider}/ has its own routes, below /v1 the server answers 404",
            fix=f"api_base: {re.sub(r'/(?:v1|api)/?$', '', base)}",
        )


def _warnings(config: ProxyConfig, sets_key: bool | None) -> Iterator[Warn]:
    if sets_key is None and not text_of(config.general.get("master_key")):
        yield Warn(code="no-key", message=f"no master_key: {TITLE} starts only where LITELLM_MASTER_KEY is set in its environment")
    yield from _waiting(config)
    yield from _cooldown(config)
    for route in config.routes:
        yield from _keys(route)
        yield from _health(route)
    for section, keys in (("general_settings", config.general), ("litellm_settings", config.litellm)):
        yield from (Warn(code="does-nothing", message=f"{section}: {key} does nothing: {_DEAD[key]}") for key in keys if key in _DEAD)
    yield from _fallbacks(config)


def _at_home(config: ProxyConfig) -> list[Route]:
    """Routes to servers of one's own, which take long and are alone."""
    return [route for route in config.routes if _HOME.match(route.api_base) or _provider(route) in _own_routes()]


def timeout_s(config: ProxyConfig, route: Route) -> float:
    """How long a route waits for an answer."""
    said = (route.params.get("timeout"), config.router.get("timeout"), config.litellm.get("request_timeout"))
    return next((number for value in said if (number := number_of(value))), REQUEST_TIMEOUT_S)


def retries(config: ProxyConfig, route: Route) -> int:
    """How often a route asks again."""
    said = (route.params.get("num_retries"), config.router.get("num_retries"), config.litellm.get("num_retries"))
    return next((int(number) for value in said if (number := number_of(value)) is not None), RETRIES)


def _waiting(config: ProxyConfig) -> Iterator[Warn]:
    """A prompt that takes longer than the timeout is sent again, while the server still reads the first."""
    told = dict.fromkeys((timeout_s(config, route), retries(config, route)) for route in _at_home(config))
    for timeout, again in told:
        if again:
            default = " (its default)" if timeout == REQUEST_TIMEOUT_S else ""
            message = f"an answer that takes longer than {timeout:,.0f} s{default} is asked for {again + 1} times, {timeout * (again + 1):,.0f} s in all, then HTTP 408"
            yield Warn(
                code="timeout-retries", message=f"{message}; a server of one's own only gets slower by it: num_retries: 0, and a timeout of its slowest answer"
            )


def _cooldown(config: ProxyConfig) -> Iterator[Warn]:
    """The only deployment of a name is put aside by one answer 401 or 404."""
    cooldown = number_of(config.router.get("cooldown_time"))
    if config.router.get("disable_cooldowns") is True or cooldown == 0:
        return
    deployments = Counter(route.name for route in config.routes)
    alone = [route.name or route.place or route.model for route in _at_home(config) if deployments[route.name] == 1]
    if alone:
        names = ", ".join(map(shown, alone[:3])) + (", …" if len(alone) > 3 else "")
        message = f"{names}: one answer 401 or 404 puts the only deployment aside for {cooldown or COOLDOWN_S:.0f} s, and everybody gets HTTP 429 (No deployments available)"
        yield Warn(code="cooldown", message=f"{message}: router_settings: {{disable_cooldowns: true}}")


def _keys(route: Route) -> Iterator[Warn]:
    known = {*_facts()["params"], *_SAMPLING}
    for key in route.params:
        if key in _DEAD:
            yield Warn(code="does-nothing", message=f"{route.place}: {key} does nothing: {_DEAD[key]}")
        elif key not in known:
            near = nearest(key, known, 1, cutoff=0.8)
            message = f"{route.place}: {shown(key)} is no key of {TITLE}, which sends it to the server with each request"
            yield Warn(code="forwarded", message=message + (f"; did you mean {near[0]}?" if near else ""))


def _health(route: Route) -> Iterator[Warn]:
    if route.info.get("health_check_model") == "skip":
        message = f"{route.place}: health_check_model: skip asks for a model of the name skip, so /health calls the route unhealthy"
        yield Warn(code="does-nothing", message=f"{message}; disable_background_health_check: true is the key")
    if re.search(r"embed|bge-|\be5-|gte-", route.model.lower()) and route.info.get("mode") != "embedding":
        yield Warn(code="no-mode", message=f"{route.place}: without model_info: {{mode: embedding}} /health asks it to chat, and calls it unhealthy")


def _fallbacks(config: ProxyConfig) -> Iterator[Warn]:
    names = {route.name for route in config.routes}
    for key in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        said = config.router.get(key) or config.litellm.get(key)
        for entry in said if isinstance(said, list) else []:
            asked = (
                [str(name) for first, then in entry.items() for name in (first, *(then if isinstance(then, list) else ()))] if isinstance(entry, dict) else []
            )
            lost: Sequence[str] = [name for name in asked if name not in names and name != "*"]
            if lost:
                yield Warn(code="unknown-model", message=f"{key}: no route has the name {shown(lost[0])}")
