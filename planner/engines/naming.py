"""Names and ports of servers that run beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from planner.errors import PlannerError
from planner.facts.question import ServiceRow

RESERVED_NAMES = ("litellm", "models")  # of the proxy, and of what makes Ollama's models
MOST_PORTS = 1000  # that are tried


def named(
    services: Sequence[ServiceRow], pooling: Iterable[bool], *, first_port: int, proxy_port: int, shared_port: int | None = None
) -> tuple[ServiceRow, ...]:
    """Servers with a name and a port each: what was asked, else by their kind, and the next that is free; with `shared_port` all in one process.

    `pooling`: which of them give embeddings. Raises PlannerError for two of one name or on one port.
    """
    names = {service.name for service in services if service.name}
    ports = {service.port for service in services if service.port} | {proxy_port}
    rows: list[ServiceRow] = []
    for service, is_pooling in zip(services, pooling, strict=True):
        kind = "embedding" if is_pooling else "chat"
        name = service.name or next(free for free in (kind, *(f"{kind}-{number}" for number in range(2, 100))) if free not in names)
        port = shared_port or service.port or next(free for free in range(first_port, first_port + MOST_PORTS) if free not in ports)
        names.add(name)
        ports.add(port)
        rows.append(replace(service, name=name, port=port))
    _refuse_twins(rows, proxy_port, shared_port)
    return tuple(rows)


def _refuse_twins(rows: Iterable[ServiceRow], proxy_port: int, shared_port: int | None) -> None:
    """Refuse two servers with one name, or one port used twice."""
    taken: dict[object, str] = {proxy_port: "the proxy"} | dict.fromkeys(RESERVED_NAMES, "the proxy")
    for row in rows:
        name, port = str(row.name), row.port or 0
        if name in taken:
            raise PlannerError(f"two servers are named {name}", f"give one another name: …:name={name}-2")
        if port in taken and (port != shared_port or port == proxy_port):
            free = next(candidate for candidate in range(port + 1, port + 100) if candidate not in taken)
            raise PlannerError(f"port {port} is used twice: by {taken[port]} and {name}", f"{name}:port={free}")
        taken |= {name: name, port: name}
