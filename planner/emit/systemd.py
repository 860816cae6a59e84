"""systemd user units: each service its own, started in order, the next once this one is healthy."""

from __future__ import annotations

from planner.emit.containers import LOADING_SECONDS
from planner.emit.litellm import proxy_argv
from planner.emit.stack import environment
from planner.facts.deployment import Deployment, comment

_UNIT = """\
# {title}
# User units: copy this folder to ~/{folder}, run setup.sh there, then
#   mkdir -p ~/.config/systemd/user && cp *.service ~/.config/systemd/user/ && systemctl --user daemon-reload
#   systemctl --user enable --now {last} && loginctl enable-linger
[Unit]
Description={description}
After=network-online.target{after}
{requires}[Service]
Type=exec
WorkingDirectory=%h/{folder}
{environment}ExecStart={command}
# The next unit starts once this one is healthy: its share of memory must be free then.
ExecStartPost=/bin/sh -c {wait}
TimeoutStartSec={timeout}
TimeoutStopSec=60
Restart=on-failure
RestartSec=10
LimitMEMLOCK=infinity

[Install]
WantedBy=default.target
"""
KEY_FILE = "%h/.config/plan/litellm.env"


def quoted(word: str) -> str:
    """A word as systemd reads it: in double quotes where needed; percent and dollar signs have a meaning of their own (systemd.service)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    plain = escaped == word and word and all(character.isalnum() or character in "-_./:=,@+" for character in word)
    return word if plain else f'"{escaped}"'


def unit_name(name: str) -> str:
    """A unit's file name."""
    return f"plan-{name}.service"


def systemd_files(deployment: Deployment) -> dict[str, str]:
    """One unit a process, and the proxy's."""
    folder = f".local/share/plan/{deployment.slug}"
    units: dict[str, str] = {}
    before: list[str] = []
    for service in deployment.processes:
        where = environment(service)
        program = f"%h/{folder}/{where}/bin/{service.argv[0]}" if where else f"/usr/local/bin/{service.argv[0]}"
        settings = [f"Environment={quoted(f'{name}={value}')}" for name, value in service.env.items()]
        units[unit_name(service.name)] = _unit(
            deployment,
            folder,
            f"{service.engine}: {service.alias}",
            [program, *service.argv[1:]],
            settings=settings,
            health=service.url + service.health,
            after=before[-1:],
        )
        before.append(unit_name(service.name))
    program, *words = proxy_argv(deployment)
    settings = [f"# LITELLM_MASTER_KEY=sk-...; chmod 600\nEnvironmentFile={KEY_FILE}"]
    health = f"http://127.0.0.1:{deployment.proxy_port}/health/liveliness"
    units[unit_name("litellm")] = _unit(
        deployment, folder, "LiteLLM proxy", [f"%h/{folder}/.venv-litellm/bin/{program}", *words], settings=settings, health=health, after=before
    )
    return units


def _unit(deployment: Deployment, folder: str, description: str, command: list[str], *, settings: list[str], health: str, after: list[str]) -> str:
    program, *words = command
    wait = f"until curl --silent --fail --noproxy '*' --output /dev/null --max-time 5 {health}; do sleep 2; done"
    return _UNIT.format(
        title=comment(deployment.title),
        folder=folder,
        last=unit_name("litellm"),
        description=comment(description).replace("%", "%%"),
        after="".join(f" {name}" for name in after),
        requires=f"Requires={' '.join(after)}\n\n" if after else "\n",
        environment="".join(line + "\n" for line in settings),
        command=" ".join([program, *map(quoted, words)]),
        wait=quoted(wait),
        timeout=LOADING_SECONDS,
    )
