"""Finding servers' commands in compose files and Kubernetes manifests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from planner.engines import ENGINES
from planner.facts.command import Command
from planner.questions.ports import published
from planner.questions.shell_scripts import from_shell, is_image, numbered, servers_of, set_before, split_words, tag_of, with_env
from planner.reader import parse_yaml


def _documents(text: str, what: str) -> list[object]:
    return parse_yaml(text, f"the {what}")


def from_compose(text: str) -> Iterator[Command]:
    """The servers of a compose file."""
    (document, *_) = _documents(text, "compose file") or [None]
    services = document.get("services") if isinstance(document, dict) else None
    for name, service in services.items() if isinstance(services, dict) else ():
        if isinstance(service, dict):
            ports = service.get("ports")
            mapped = published(ports) if isinstance(ports, list) and service.get("network_mode") != "host" else ()
            yield from (replace(server, service=str(name), published=mapped) for server in from_container(service, "entrypoint", "command"))


def from_manifests(text: str) -> Iterator[Command]:
    """The containers of Kubernetes manifests, and the scripts of their config maps."""
    for document in _documents(text, "manifest"):
        if isinstance(document, dict) and document.get("kind") == "ConfigMap" and isinstance(document.get("data"), dict):
            for name, script in document["data"].items():
                if str(name).endswith(".sh"):
                    yield from from_shell(str(script))
        yield from (server for container in _containers(document) for server in from_container(container, "command", "args"))


def _containers(part: object) -> Iterator[dict[str, object]]:
    if isinstance(part, list):
        for item in part:
            yield from _containers(item)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key == "containers" and isinstance(value, list):
                before = part.get("initContainers")  # they run first, and end
                yield from (item for item in [*(before if isinstance(before, list) else []), *value] if isinstance(item, dict))
            elif key != "initContainers":
                yield from _containers(value)


def from_container(container: dict[str, object], entrypoint: str, command: str) -> Iterator[Command]:
    """The servers that a container runs, by its words under two keys, else what its image runs by itself."""
    image = str(container.get("image", ""))
    version = tag_of(image) if any(is_image(engine, image) for engine in ENGINES.values()) else None
    env = _container_env(container) | _container_gpus(container)
    words = _compose_words(container.get(entrypoint)) + _compose_words(container.get(command))
    servers = list(servers_of(words))
    if not servers and not container.get(entrypoint):  # what the image runs by itself
        servers = list(servers_of(["run", image, *words]))
    for server in servers:
        yield replace(with_env(server, env), version=server.version or version, contained=True)


def _container_env(container: dict[str, object]) -> dict[str, str]:
    """`environment` of a compose file, a mapping or a list of NAME=value; `env` of a manifest, a list of names with values."""
    said = container.get("environment", container.get("env"))
    if isinstance(said, dict):
        return {str(name): str(value) for name, value in said.items() if value is not None}
    entries = said if isinstance(said, list) else []
    named = {str(entry["name"]): str(entry["value"]) for entry in entries if isinstance(entry, dict) and "name" in entry and "value" in entry}
    return named | set_before([entry for entry in entries if isinstance(entry, str)])


def _container_gpus(container: dict[str, object]) -> dict[str, str]:
    """The GPUs that a container is given: by `gpus` or `deploy` of a compose file, by the limits of a manifest."""
    limits = _inside(container, "resources", "limits")
    given = {name: numbered(limits[name]) for name in ("nvidia.com/gpu", "amd.com/gpu") if name in limits} if isinstance(limits, dict) else {}
    devices = container.get("gpus") or _inside(container, "deploy", "resources", "reservations", "devices")
    entries = [entry for entry in devices if isinstance(entry, dict)] if isinstance(devices, list) else []
    asked = [",".join(map(str, ids)) if isinstance(ids := entry.get("device_ids"), list) else numbered(entry.get("count", "all")) for entry in entries]
    if asked:
        given["devices"] = "all" if "all" in asked else ",".join(filter(None, asked))
    return given


def _inside(part: object, *names: str) -> object:
    """What lies under these names in nested mappings; None where it does not."""
    for name in names:
        part = part.get(name) if isinstance(part, dict) else None
    return part


def _compose_words(value: object) -> list[str]:
    if isinstance(value, str):
        return split_words(" ".join(value.split()))
    return [str(part) for part in value] if isinstance(value, list) else []
