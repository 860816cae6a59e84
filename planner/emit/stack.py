"""stack.sh: all services and the proxy, started in order and stopped cleanly. The fixed parts are templates/services.sh and templates/stack.sh."""

from __future__ import annotations

import shlex

from planner.emit.lines import argument_lines, template
from planner.emit.litellm import proxy_argv
from planner.engines import serving_of
from planner.facts.deployment import Deployment, Service, comment

PROXY = "litellm"

_HEAD = """\
#!/usr/bin/env bash
# {title}
# {usage}
# shellcheck disable=SC2310,SC2312,SC2329 # conditions call functions that are written to be asked, services are called by their names
set -euo pipefail
here=$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)
cd "${{here}}"
state=${{PLAN_STATE_DIR:-${{here}}}}
# Environments that setup.sh made here come first.
PATH="{paths}${{PATH}}"

names=({names})
ports=({ports})
urls=(
{urls}
)

"""

_CHECK = """

check_tools() {{
  local tool
  for tool in curl{tools}; do
    command -v "${{tool}}" >/dev/null || fail "${{tool}} is not installed; ./setup.sh installs the engines, your system's packages the rest"
  done
{toolchain}}}

"""

_NVCC = '  command -v nvcc >/dev/null || [[ -x ${CUDA_HOME:-/usr/local/cuda}/bin/nvcc ]] || fail "nvcc is missing; install the CUDA toolkit or set CUDA_HOME"\n'
_KEY = '  [[ -n ${LITELLM_MASTER_KEY:-} ]] || fail "LITELLM_MASTER_KEY is not set: export LITELLM_MASTER_KEY=\\"sk-\\$(openssl rand -hex 24)\\""\n'


def function_name(name: str) -> str:
    """The shell function that runs a service."""
    return "run_" + name.replace("-", "_").replace(".", "_")


def run_function(name: str, notes: tuple[str, ...], argv: tuple[str, ...], env: dict[str, str]) -> str:
    """A service as a shell function: why, its environment, its command."""
    lines = [f"# {comment(note)}" for note in notes]
    lines.append(f"{function_name(name)}() {{")
    lines += [f"  export {shlex.quote(f'{key}={value}')}" for key, value in env.items()]
    command = " \\\n    ".join(argument_lines(argv))
    return "\n".join([*lines, f"  exec {command}", "}"])


def head(title: str, usage: str, deployment: Deployment, waited_for: list[tuple[str, int, str]]) -> str:
    """How a script begins: where it is, where programs are, and the names, ports and health addresses of what it starts, in this order."""
    return _HEAD.format(
        title=comment(title),
        usage=usage,
        paths="".join(f"${{here}}/{folder}/bin:" for folder in environments(deployment)),
        names=" ".join(shlex.quote(name) for name, _, _ in waited_for),
        ports=" ".join(str(port) for _, port, _ in waited_for),
        urls="\n".join(f"  {shlex.quote(url)}" for _, _, url in waited_for),
    )


def check_tools(services: tuple[Service, ...], *, proxy: bool) -> str:
    """The shell function that says what is missing before anything starts."""
    programs = dict.fromkeys([*(service.argv[0] for service in services), *([PROXY] if proxy else [])])
    toolchain = (_NVCC if any(service.needs_nvcc for service in services) else "") + (_KEY if proxy else "")
    return _CHECK.format(tools="".join(f" {shlex.quote(program)}" for program in programs), toolchain=toolchain)


def stack_script(deployment: Deployment, *, proxy: bool = True) -> str:
    """The text of stack.sh; without the proxy for a container that holds the engine only."""
    services = deployment.processes
    waited_for = [(service.name, service.port, service.url + service.health) for service in services]
    functions = [run_function(service.name, service.notes, service.argv, service.env) for service in services]
    if proxy:
        waited_for.append((PROXY, deployment.proxy_port, f"http://127.0.0.1:{deployment.proxy_port}/health/liveliness"))
        functions.append(run_function(PROXY, ("one endpoint for all of them",), proxy_argv(deployment), {}))
    usage = "Services of one machine: `./stack.sh start`, `stop`, `status`, `logs`, or `run` in the foreground."
    return "".join(
        [
            head(deployment.title, usage, deployment, waited_for),
            "\n\n".join(functions),
            check_tools(services, proxy=proxy),
            template("services.sh"),
            template("stack.sh"),
        ]
    )


def environments(deployment: Deployment) -> list[str]:
    """Virtual environments that setup.sh makes: one an engine, since their requirements disagree."""
    return [*dict.fromkeys(environment(service) for service in deployment.services if environment(service)), ".venv-litellm"]


def environment(service: Service) -> str:
    """The virtual environment of a service; empty where the engine is no Python package."""
    return serving_of(service.engine).environment
