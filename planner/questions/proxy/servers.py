"""Routes of a proxy beside the servers that are started with it: a port where none of them listens, a name that one does not serve, one that no route asks.

Only what is said is judged: ports that are written out, on the machine itself or under the name of a compose file's service.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from planner.facts.command import Command
from planner.facts.verdict import Warn
from planner.questions.ports import listens_on, serving_of, values
from planner.questions.proxy.judge import JudgedRoute, ProxyAnswer
from planner.text import shown

_HERE = ("localhost", "127.0.0.1", "0.0.0.0", "::1")  # noqa: S104 # an address to compare with


def beside_servers(answer: ProxyAnswer, servers: Sequence[Command]) -> tuple[Warn, ...]:
    """What does not match between the routes and the servers of the same text or files; nothing where a server does not say its port."""
    if any(server.contained for server in servers):
        return tuple(_of_services(answer, {server.service: server for server in servers if server.service}))
    ports = [listens_on(server) for server in servers]
    if not all(ports):
        return ()
    return tuple(_mismatches(answer, {port: server for port, server in zip(ports, servers, strict=True) if port}))


def _of_services(answer: ProxyAnswer, servers: dict[str, Command]) -> Iterator[Warn]:
    """Routes that ask a service by its name: its container's own port counts, whatever the machine maps."""
    for route in answer.routes:
        address = urlsplit(route.api_base) if _place(route)[1] else None
        server = servers.get(address.hostname or "") if address else None
        port = listens_on(server) if server else None
        if address is None or server is None or not port:
            continue
        if address.port != port:
            message = f"route {shown(route.name)} asks {shown(server.service)}:{address.port}, and the server there listens on {port}"
            yield Warn(code="no-server", message=message)
        else:
            yield from _of_name(route, server, f"of {shown(server.service)}")


def _mismatches(answer: ProxyAnswer, servers: dict[int, Command]) -> Iterator[Warn]:
    asked = {route: _place(route) for route in answer.routes if route.api_base}
    for route, (is_here, port) in asked.items():
        if is_here and port and port not in servers:
            told = ", ".join(map(str, servers))
            yield Warn(code="no-server", message=f"route {shown(route.name)} asks port {port}, where no server of these listens (they do on {told})")
        elif is_here and port:
            yield from _of_name(route, servers[port], f"on port {port}")
    if all(is_here and port for is_here, port in asked.values()):
        used = {port for _, port in asked.values()}
        for port, server in servers.items():
            if port not in used:
                yield Warn(code="no-route", message=f"no route asks the server on port {port} ({shown(' '.join(server.words[:2]))})")


def _of_name(route: JudgedRoute, server: Command, where: str) -> Iterator[Warn]:
    """A route that asks a server for a name that it does not serve."""
    names, name = _names(server), route.model.partition("/")[2]
    if names and name not in names and "*" not in name:
        message = f"route {shown(route.name)} asks for {shown(name)}, and the server {where} serves {shown(', '.join(names))}: HTTP 404"
        yield Warn(code="unknown-model", message=message)


def _place(route: JudgedRoute) -> tuple[bool, int | None]:
    """Whether a route asks this machine, and the port."""
    try:
        address = urlsplit(route.api_base)
        return address.hostname in _HERE, address.port
    except ValueError:
        return False, None


def _names(server: Command) -> list[str]:
    """The names of a command's model, where its server refuses others: what it gives it, else the model as it is written; empty where that is not to be seen."""
    if server.unresolved:
        return []
    said = values(server.words, "--served-model-name")
    if said or not serving_of(server).takes_model_first:
        return said
    return [word for word in server.words[:1] if not word.startswith("-")] or values(server.words, "--model")
