"""Finding servers in Helm values: containers with an image of an engine anywhere below, and the models of vLLM's production stack (helm/values.schema.json)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from planner.engines import ENGINES, first_engine
from planner.facts.command import Command
from planner.questions.container_files import from_container
from planner.questions.shell_scripts import is_image
from planner.reader import parse_yaml

_MAPPING = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n|---[^\n]*\n)*+[\w.\"'-]+:(?:\s|$)")
_HINTS = re.compile(r"(?m)(?:^|[{,\s])(?:modelURL|image|repository)[ \t]*:")
_ARGUMENTS = ("args", "extraArgs", "command")
_NOT_FLAGS = ("extraArgs", "env", "v0", "v1", "convert")  # of a model's engine settings: the chart's own
_STACK_ARGUMENTS = "extraArgs"


def looks_like_values(text: str) -> bool:
    """Whether a text is a YAML mapping that names images or models."""
    return _MAPPING.match(text) is not None and _HINTS.search(text) is not None


def from_values(text: str) -> Iterator[Command]:
    """The servers of Helm values. Raises FileError for what is no YAML."""
    for document in parse_yaml(text, "the values"):
        yield from (server for part in _mappings(document) for server in _servers(part))


def _mappings(part: object) -> Iterator[dict[str, object]]:
    if isinstance(part, dict):
        yield {str(key): value for key, value in part.items()}
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _mappings(inner)


def _servers(part: Mapping[str, object]) -> Iterator[Command]:
    if isinstance(part.get("modelURL"), str):
        yield from from_container(_of_stack(part), "entrypoint", "command")
        return
    image = _image(part.get("image"))
    if not any(is_image(engine, image) for engine in ENGINES.values()) or "modelSpec" in part:
        return
    args = next((part[name] for name in _ARGUMENTS[:2] if part.get(name)), None)
    if args or part.get("command"):
        yield from from_container({**part, "image": image, "args": args}, "command", "args")


def _image(said: object) -> str:
    """repository:tag, written as one text or as two."""
    if isinstance(said, dict) and isinstance(said.get("repository"), str):
        name = "/".join(filter(None, (said.get("registry") if isinstance(said.get("registry"), str) else "", said["repository"])))
        return f"{name}:{said['tag']}" if isinstance(said.get("tag"), str | int | float) else name
    return said if isinstance(said, str) else ""


def _of_stack(part: Mapping[str, object]) -> dict[str, object]:
    """A model of the production stack as the container that the chart makes of it."""
    settings = next((value for key, value in part.items() if key.endswith("Config") and key != "lmcacheConfig" and isinstance(value, dict)), {})
    words = ["--model", str(part["modelURL"])]
    for name, value in settings.items():
        if name in _NOT_FLAGS or value is None or value is False:
            continue
        words += [_flag(str(name)), *([] if value is True else [str(value)])]
    extra = settings.get(_STACK_ARGUMENTS)
    words += [str(word) for word in extra] if isinstance(extra, list) else []
    usual = next(iter(first_engine().serving.values())).container
    image = f"{part.get('repository', '')}:{part.get('tag', 'latest')}"
    if not is_image(first_engine(), image) and usual:
        image = f"{usual.images['nvidia'].partition(':')[0]}:{part.get('tag', 'latest')}"
    limits = {"nvidia.com/gpu": part["requestGPU"]} if part.get("requestGPU") else {}
    return {"image": image, "command": words, "environment": part.get("env"), "resources": {"limits": limits}}


def _flag(name: str) -> str:
    """The flag of a chart's key: --max-model-len for maxModelLen."""
    return "--" + re.sub("(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
