"""Finding servers' commands in text: a command line, a script or unit, a compose file, manifests, Helm values, a Dockerfile, an engine's own file.

Text is read, never run. Which words start a server, its engine knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from planner.engines import ENGINES
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.questions.container_files import from_compose, from_manifests
from planner.questions.helm_values import from_values, looks_like_values
from planner.questions.image_files import from_dockerfile, looks_like_dockerfile
from planner.questions.shell_scripts import MOST_SERVERS, Scope, command_of, from_shell, servers_of, with_env

MAX_TEXT_BYTES = 4 * 1024**2


def find_commands(text: str) -> list[Command]:
    """Every server that the text starts, of any engine. Raises PlannerError for text that cannot be read, and for one that starts more than anybody does."""
    servers = list(islice(_servers(text), MOST_SERVERS + 1))
    if len(servers) > MOST_SERVERS:
        raise PlannerError(f"more than {MOST_SERVERS} servers are started there", "give a part of it")
    return servers


def _servers(text: str) -> Iterator[Command]:
    if "\0" in text or len(text) > MAX_TEXT_BYTES:
        raise PlannerError("this is not a command or a script", "give a server's command, a shell script or a compose file")
    text = text.removeprefix("\ufeff")
    if re.search(r"(?m)^services:[ \t\r]*(#.*)?$", text):
        yield from from_compose(text)
    elif re.search(r"(?m)^apiVersion:", text) and re.search(r"(?m)^kind:", text):
        yield from from_manifests(text)
    elif re.search(r"(?m)^[ \t]*<plist\b|\?><plist\b", text):
        yield from _from_launchd(text)
    elif looks_like_values(text):
        yield from from_values(text)
    elif looks_like_dockerfile(text):
        yield from from_dockerfile(text)
    elif own := next((command for engine in ENGINES.values() if (command := engine.find_file(text)) is not None), None):
        yield own
    else:
        yield from _from_script(text)


def _from_script(text: str) -> Iterator[Command]:
    """The servers of a shell script, a unit, a file of variables."""
    scope = Scope()
    commands = list(islice(from_shell(text, scope), MOST_SERVERS + 1))
    if re.search(r"(?m)^[ \t]*\[Service\]", text):  # systemd reads all of a unit before it starts anything
        commands = [with_env(command, scope.env) for command in commands]
    yield from commands or _from_variables(scope)


def _from_launchd(text: str) -> Iterator[Command]:
    """A property list of launchd: ProgramArguments, EnvironmentVariables."""
    import plistlib
    from xml.parsers.expat import ExpatError

    try:
        said = plistlib.loads(text.encode())
    except (ExpatError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError) as error:
        raise PlannerError(f"the property list cannot be read ({str(error)[:80]})", "give the whole file of launchd") from None
    words = said.get("ProgramArguments") if isinstance(said, dict) else None
    env = said.get("EnvironmentVariables") if isinstance(said, dict) else None
    for command in servers_of([str(word) for word in words] if isinstance(words, list) else []):
        yield with_env(command, {str(name): str(value) for name, value in env.items()} if isinstance(env, dict) else {})


def _from_variables(scope: Scope) -> Iterator[Command]:
    """The server whose variables a text sets without starting one: what is laid over a unit, a file of variables."""
    env = scope.env or scope.variables
    for engine in ENGINES.values():
        for serving in engine.serving.values():
            if any(name.startswith(f"{prefix}_") for name in env for prefix in serving.variables) and (command := command_of(serving.command)):
                yield replace(command, env=tuple(env.items()))
                return
