"""Routes of a proxy beside the servers that are started with it: a port where none of them listens, a name that one does not serve, one that no route asks.

Only what is said is judged: ports that are written out, on the machine itself; a container's may be mapped to others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from urllib.parse import urlsplit

from planner.engines import ENGINES
from planner.facts.command import Command
from planner.facts.serving import Serving
from planner.facts.verdict import Warn
from planner.questions.proxy.judge import JudgedRoute, ProxyAnswer
from planner.text import shown

_HERE = ("localhost", "127.0.0.1", "0.0.0.0", "::1")  # noqa: S104 # an address to compare with


def beside_servers(answer: ProxyAnswer, servers: Sequence[Command]) -> tuple[Warn, ...]:
    """What does not match between the routes and the servers of the same text or files; nothing where a server does not say its port."""
    ports = [_port(server) for server in servers]
    if not all(ports) or any(server.contained for server in servers):
        return ()
    return tuple(_mismatches(answer, {port: server for port, server in zip(ports, servers, strict=True) if port}))


def _mismatches(answer: ProxyAnswer, servers: dict[int, Command]) -> Iterator[Warn]:
    asked = {route: _place(route) for route in answer.routes if route.api_base}
    for route, (is_here, port) in asked.items():
        if is_here and port and port not in servers:
            told = ", ".join(map(str, servers))
            yield Warn(code="no-server", message=f"route {shown(route.name)} asks port {port}, where no server of these listens (they do on {told})")
        elif is_here and port and (names := _names(servers[port])) and (name := route.model.partition("/")[2]) not in names and "*" not in name:
            message = f"route {shown(route.name)} asks for {shown(name)}, and the server on port {port} serves {shown(', '.join(names))}: HTTP 404"
            yield Warn(code="unknown-model", message=message)
    if all(is_here and port for is_here, port in asked.values()):
        used = {port for _, port in asked.values()}
        for port, server in servers.items():
            if port not in used:
                yield Warn(code="no-route", message=f"no route asks the server on port {port} ({shown(' '.join(server.words[:2]))})")


def _place(route: JudgedRoute) -> tuple[bool, int | None]:
    """Whether a route asks this machine, and the port."""
    try:
        address = urlsplit(route.api_base)
        return address.hostname in _HERE, address.port
    except ValueError:
        return False, None


def _port(server: Command) -> int | None:
    """The port of a command: by its flag, its engine's variable of the address, else where its program listens by itself; None where only a shell knows it."""
    env, serving = dict(server.env), _serving(server)
    said = _values(server.words, "--port")[-1:] + [env[name].rpartition(":")[2] for name in [serving.address_variable] if name in env]
    if not said:
        return None if server.unresolved or any(word.split("=")[0] == "--port" for word in server.words) else serving.default_port
    return int(said[0]) if re.fullmatch(r"[0-9]{1,5}", said[0]) else None


def _serving(server: Command) -> Serving:
    """How the program of a command serves; of an engine with several the first, where the command does not tell."""
    programs = list(ENGINES[server.engine].serving.values())
    return next((serving for serving in programs if set(serving.command) & set(server.program)), programs[0])


def _names(server: Command) -> list[str]:
    """The names of a command's model, where its server refuses others: what it gives it, else the model as it is written; empty where that is not to be seen."""
    if server.unresolved:
        return []
    said = _values(server.words, "--served-model-name")
    if said or not _serving(server).takes_model_first:
        return said
    return [word for word in server.words[:1] if not word.startswith("-")] or _values(server.words, "--model")


def _values(words: Sequence[str], flag: str) -> list[str]:
    """The values of a flag, as one word or as several."""
    joined = [word.partition("=")[2] for word in words if word.startswith(f"{flag}=")]
    return joined or (list(takewhile(lambda word: not word.startswith("-"), words[words.index(flag) + 1 :])) if flag in words else [])
