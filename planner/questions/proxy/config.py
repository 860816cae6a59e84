"""LiteLLM's config.yaml: its routes, and the settings that decide whether they answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import cast

from planner.errors import PlannerError
from planner.facts.record import dataclass
from planner.reader import parse_yaml
from planner.text import shown

MAX_BYTES = 4 * 1024**2
MOST_NUMBER, MOST_ROUTES = 1 << 60, 1000
Section = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One entry of model_list: what clients ask for, and the server behind it."""

    name: str
    params: Section = field(default_factory=dict)
    info: Section = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The provider and the name that the server knows."""
        return text_of(self.params.get("model"))

    @property
    def api_base(self) -> str:
        """The server's address; empty where it is the provider's own."""
        return text_of(self.params.get("api_base") or self.params.get("base_url"))

    @property
    def place(self) -> str:
        """The entry, for a message."""
        return shown(self.name or self.model or "an entry of model_list")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """A whole configuration."""

    routes: tuple[Route, ...]
    litellm: Section = field(default_factory=dict)
    router: Section = field(default_factory=dict)
    general: Section = field(default_factory=dict)


def text_of(value: object) -> str:
    """A value that should be text; empty where it is none."""
    return value.strip() if isinstance(value, str) else ""


def read_config(text: str, name: str = "config.yaml") -> ProxyConfig:
    """Read a configuration. Raises PlannerError for what is no YAML, or has no routes."""
    name = shown(name, 100)
    if len(text) > MAX_BYTES:
        raise PlannerError(f"{name}: more than {MAX_BYTES:,} characters")
    document = next(iter(parse_yaml(text, name)), None)
    if not isinstance(document, dict) or not isinstance(document.get("model_list"), list) or not document["model_list"]:
        raise PlannerError(f"{name} has no list of routes (model_list)", "model_list: with model_name and litellm_params for each")
    if len(document["model_list"]) > MOST_ROUTES:
        raise PlannerError(f"{name}: {len(document['model_list']):,} routes; at most {MOST_ROUTES:,} are judged")
    return ProxyConfig(
        routes=tuple(_routes(document["model_list"], name)),
        litellm=_section(document, "litellm_settings", name),
        router=_section(document, "router_settings", name),
        general=_section(document, "general_settings", name),
    )


def _routes(entries: list[object], name: str) -> Iterator[Route]:
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise PlannerError(f"{name}: entry {number} of model_list is {shown(str(entry))!r}, no mapping", "model_name: …, litellm_params: …")
        where = f"{name}, entry {number} of model_list"
        yield Route(name=text_of(entry.get("model_name")), params=_section(entry, "litellm_params", where), info=_section(entry, "model_info", where))


def _section(document: dict[object, object], key: str, name: str) -> Section:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise PlannerError(f"{name}: {key} is {shown(str(value))!r}, no mapping")
    return cast("Section", {str(inner): content for inner, content in value.items()})


def number_of(value: object) -> float | None:
    """A number of a section; None where it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST_NUMBER else None
