"""setup.sh: the virtual environments that stack.sh expects, one an engine, and what makes an engine's models."""

from __future__ import annotations

import shlex

from planner.emit.litellm import LITELLM_VERSION
from planner.engines import servings
from planner.facts.deployment import Deployment, comment

_SCRIPT = """\
#!/usr/bin/env bash
# What {title} needs, installed beside this script.
set -euo pipefail
cd "$(dirname "${{BASH_SOURCE[0]}}")"

# install FOLDER PACKAGE...: a virtual environment of its own, by uv where it is there
install() {{
  local folder=$1
  shift
  if command -v uv >/dev/null; then
    [[ -d ${{folder}} ]] || uv venv --python '>=3.11' "${{folder}}"
    uv pip install --python "${{folder}}/bin/python" "$@"
  else
    [[ -d ${{folder}} ]] || python3 -m venv "${{folder}}"
    "${{folder}}/bin/python" -m pip install "$@"
  fi
}}

{steps}
"""


def setup_script(deployment: Deployment) -> str:
    """The text of setup.sh."""
    versions = {service.engine: service.version for service in deployment.services}
    environments: dict[str, list[str]] = {}
    further: list[str] = []
    for program, serving in servings(versions).items():
        if serving.environment:
            environments.setdefault(serving.environment, []).extend(package.format(version=versions[program]) for package in serving.packages)
        further += serving.install(deployment)
    steps = [f"install {folder} {shlex.join(packages)}" for folder, packages in environments.items()]
    steps += [*further, f"install .venv-litellm {shlex.quote(f'litellm[proxy]=={LITELLM_VERSION}')}"]
    return _SCRIPT.format(title=comment(deployment.title), steps="\n".join(steps))
