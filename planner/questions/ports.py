"""Where a server listens, which of its container's ports the machine maps, and what of both does not match."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, takewhile

from planner.engines import ENGINES
from planner.facts.command import Command
from planner.facts.serving import Serving
from planner.facts.verdict import Warn

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SHORT = re.compile(r"(?:(?:\[[0-9a-fA-F:]*\]|\d{1,3}(?:\.\d{1,3}){3}):)?(?:(?P<host>\d{0,5}):)?(?P<port>\d{1,5})(?:/tcp)?")


def published(said: Iterable[object]) -> tuple[tuple[int, int], ...]:
    """The ports of a container that the machine maps, as compose and `docker run -p` write them: the machine's (0 where Docker chooses) and the container's.

    Nothing where one of them is a range or only a shell knows it.
    """
    pairs = [_pair(entry) for entry in said if not str(entry).endswith("/udp")]
    return tuple(pair for pair in pairs if pair) if all(pairs) else ()


def _pair(entry: object) -> tuple[int, int] | None:
    if isinstance(entry, dict):
        entry = f"{entry.get('published', '')}:{entry.get('target')}"
    match = _SHORT.fullmatch(str(entry))
    return (int(match["host"] or 0), int(match["port"])) if match else None


def of_docker(words: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The same of the words of `docker run`; nothing on the machine's own network, where they are discarded."""
    network = [word for before, word in pairwise(words) if before in ("--network", "--net")]
    if "host" in network or {"--network=host", "--net=host"} & set(words):
        return ()
    joined = [word.partition("=")[2] for word in words if word.startswith("--publish=")]
    return published([*(word for before, word in pairwise(words) if before in ("-p", "--publish")), *joined])


def remarks(server: Command) -> Iterator[Warn]:
    """What keeps clients from a server in a container: another port is mapped than the one it listens on, or it listens inside only."""
    port, ports = listens_on(server), dict.fromkeys(inner for _, inner in server.published)
    if not port or not ports:
        return
    if port not in ports:
        outer, inner = server.published[0]
        told = f"the container's port {' and '.join(map(str, ports))} is mapped, and the server in it listens on {port}: nobody reaches it"
        yield Warn(code="not-published", message=f"{told}; map {outer or inner}:{port}, or let it listen on {inner}")
    elif (address := _address(server)) in _LOOPBACK:
        yield Warn(code="not-published", message=f"the server listens on {address} of its container, which no mapped port reaches; 0.0.0.0 is every address")


def listens_on(server: Command) -> int | None:
    """The port of a command: by its flag, its engine's variables, else where its program listens by itself; None where only a shell knows it."""
    env, serving = dict(server.env), serving_of(server)
    said = values(server.words, "--port")[-1:] + [env[name].rpartition(":")[2] for name in (serving.port_variable, serving.address_variable) if name in env]
    if not said:
        return None if server.unresolved or any(word.split("=")[0] == "--port" for word in server.words) else serving.default_port
    return int(said[0]) if re.fullmatch(r"[0-9]{1,5}", said[0]) else None


def _address(server: Command) -> str:
    """The address that a command says; empty where it says none."""
    variable = dict(server.env).get(serving_of(server).address_variable, "").rpartition("//")[2]
    return next(iter(values(server.words, "--host")[-1:]), variable.rpartition(":")[0] if ":" in variable else variable)


def serving_of(server: Command) -> Serving:
    """How the program of a command serves; of an engine with several the first, where the command does not tell."""
    programs = list(ENGINES[server.engine].serving.values())
    return next((serving for serving in programs if set(serving.command) & set(server.program)), programs[0])


def values(words: Sequence[str], flag: str) -> list[str]:
    """The values of a flag, as one word or as several."""
    joined = [word.partition("=")[2] for word in words if word.startswith(f"{flag}=")]
    return joined or (list(takewhile(lambda word: not word.startswith("-"), words[words.index(flag) + 1 :])) if flag in words else [])
