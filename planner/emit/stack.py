"""stack.sh: all services and the proxy, started in order and stopped cleanly. The fixed part is templates/stack.sh."""

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
# Services of one machine: `./stack.sh start`, `stop`, `status`, `logs`, or `run` in the foreground.
# shellcheck disable=SC2310,SC2312 # conditions call functions that are written to be asked
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

_CHECK = """\

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


def _function(name: str, notes: tuple[str, ...], argv: tuple[str, ...], env: dict[str, str]) -> str:
    """A service as a function: why, its environment, its command."""
    lines = [f"# {comment(note)}" for note in notes]
    lines.append(f"{function_name(name)}() {{")
    lines += [f"  export {shlex.quote(f'{key}={value}')}" for key, value in env.items()]
    command = " \\\n    ".join(argument_lines(argv))
    return "\n".join([*lines, f"  exec {command}", "}"])


def stack_script(deployment: Deployment, *, proxy: bool = True) -> str:
    """The text of stack.sh; without the proxy for a container that holds the engine only."""
    services = deployment.processes
    names = [*(service.name for service in services), *([PROXY] if proxy else [])]
    ports = [*(service.port for service in services), *([deployment.proxy_port] if proxy else [])]
    urls = [service.url + service.health for service in services]
    urls += [f"http://127.0.0.1:{deployment.proxy_port}/health/liveliness"] if proxy else []
    programs = list(dict.fromkeys([*(service.argv[0] for service in services), *(["litellm"] if proxy else [])]))
    head = _HEAD.format(
        title=comment(deployment.title),
        paths="".join(f"${{here}}/{folder}/bin:" for folder in environments(deployment)),
        names=" ".join(shlex.quote(name) for name in names),
        ports=" ".join(map(str, ports)),
        urls="\n".join(f"  {shlex.quote(url)}" for url in urls),
    )
    functions = [_function(service.name, service.notes, service.argv, service.env) for service in services]
    if proxy:
        functions.append(_function(PROXY, ("one endpoint for all of them",), proxy_argv(deployment), {}))
    toolchain = (_NVCC if any(service.needs_nvcc for service in services) else "") + (_KEY if proxy else "")
    check = _CHECK.format(tools="".join(f" {shlex.quote(program)}" for program in programs), toolchain=toolchain)
    return head + "\n" + "\n\n".join(functions) + "\n" + check + template("stack.sh")


def environments(deployment: Deployment) -> list[str]:
    """Virtual environments that setup.sh makes: one an engine, since their requirements disagree."""
    return [*dict.fromkeys(environment(service) for service in deployment.services if environment(service)), ".venv-litellm"]


def environment(service: Service) -> str:
    """The virtual environment of a service; empty where the engine is no Python package."""
    return serving_of(service.engine).environment
