"""launchd agents of one user: the services of a Mac, each started once the one before it answers, and again where it dies."""

from __future__ import annotations

import plistlib
import shlex

from planner.emit.litellm import proxy_argv
from planner.emit.stack import environment
from planner.facts.deployment import Deployment, Service, comment

# launchd expands no variables in paths and knows no order of start: a shell does both (launchd.plist(5)).
_HEADER = """\
<!-- {title}
  Copy this folder to {folder}, run setup.sh there, write the proxy's key to {key}
  (LITELLM_MASTER_KEY=sk-...; chmod 600), then:
    mkdir -p ~/Library/LaunchAgents; cp local.plan.*.plist ~/Library/LaunchAgents/
    for agent in ~/Library/LaunchAgents/local.plan.*.plist; do launchctl bootstrap "gui/$(id -u)" "$agent"; done
  and to stop them: launchctl bootout "gui/$(id -u)/local.plan.NAME"
-->
"""
KEY_FILE = ".config/plan/litellm.env"
_PROXY = "litellm"
_THROTTLE_SECONDS = 10


def launchd_files(deployment: Deployment) -> dict[str, str]:
    """One agent a process, and the proxy's."""
    folder = f"Library/Application Support/plan/{deployment.slug}"
    header = _HEADER.format(title=comment(deployment.title).replace("--", "- -"), folder=f'"$HOME/{folder}"', key=f"~/{KEY_FILE}")
    agents: dict[str, str] = {}
    waits: list[str] = []
    for service in deployment.processes:
        agents[_file(service.name)] = _headed(_agent(service.name, folder, _server(service, waits[-1:])), header)
        waits.append(service.url + service.health)
    command = [f'set -a; . "$HOME/{KEY_FILE}"; set +a', *map(_wait, waits), f"exec {shlex.join(_programs(proxy_argv(deployment), '.venv-litellm'))}"]
    return agents | {_file(_PROXY): _headed(_agent(_PROXY, folder, command), header)}


def _headed(text: str, header: str) -> str:
    """A property list with a comment where XML has room for one: behind its declaration."""
    first, _, rest = text.partition("\n")
    return f"{first}\n{header}{rest}"


def _file(name: str) -> str:
    return f"local.plan.{name}.plist"


def _programs(argv: tuple[str, ...], folder: str) -> tuple[str, ...]:
    """A command with the program of the environment that setup.sh makes; another's is found on PATH."""
    return (f"./{folder}/bin/{argv[0]}", *argv[1:]) if folder else argv


def _wait(url: str) -> str:
    return f"until curl --silent --fail --noproxy '*' --output /dev/null --max-time 5 {shlex.quote(url)}; do sleep 2; done"


def _server(service: Service, before: list[str]) -> list[str]:
    """What the shell of an agent does: the server before it must answer, its share of memory is taken then."""
    settings = [f"export {shlex.quote(f'{name}={value}')}" for name, value in service.env.items()]
    return [*map(_wait, before), *settings, f"exec {shlex.join(_programs(service.argv, environment(service)))}"]


def _agent(name: str, folder: str, commands: list[str]) -> str:
    script = ["set -e", f'cd "$HOME/{folder}"', "mkdir -p logs", f"exec >>logs/{name}.log 2>&1", *commands]
    agent = {
        "Label": f"local.plan.{name}",
        "ProgramArguments": ["/bin/sh", "-c", "\n".join(script)],
        "EnvironmentVariables": {"PATH": "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"},
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": _THROTTLE_SECONDS,
        "ProcessType": "Interactive",  # in the background macOS slows it down
    }
    return plistlib.dumps(agent, sort_keys=False).decode()
