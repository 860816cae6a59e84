"""setup.sh: the virtual environments that stack.sh expects, one an engine, and what Ollama has to pull."""

from __future__ import annotations

import shlex

from planner.emit.lines import comment
from planner.emit.litellm import LITELLM_VERSION
from planner.emit.ollama import ollama_steps
from planner.facts.deployment import Deployment

MLX_LM_VERSION, MLX_VLM_VERSION = "0.32.2", "0.7.10"

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

# Models are pulled by a running server: one that is there already, or one that runs for the pulls only.
_OLLAMA = """\
command -v ollama >/dev/null || {{ echo "install Ollama first: https://ollama.com/download" >&2; exit 1; }}
export OLLAMA_HOST=127.0.0.1:{port}
own=""
if ! ollama list >/dev/null 2>&1; then
  ollama serve >ollama-setup.log 2>&1 &
  own=$!
  trap 'kill "${{own}}" 2>/dev/null || true' EXIT
  until ollama list >/dev/null 2>&1; do
    kill -0 "${{own}}" 2>/dev/null || {{ echo "ollama serve ended, see ollama-setup.log" >&2; exit 1; }}
    sleep 1
  done
fi
make_models() {{
{steps}
}}
make_models"""

_LLAMA_CPP = """\
command -v llama-server >/dev/null || {
  echo "install llama.cpp first: https://github.com/ggml-org/llama.cpp/releases (or: brew install llama.cpp)" >&2
  exit 1
}"""


def setup_script(deployment: Deployment) -> str:
    """The text of setup.sh."""
    steps: list[str] = []
    engines = {service.engine: service for service in deployment.services}
    if "vllm" in engines:
        wheel = f"vllm=={engines['vllm'].version}.0"
        steps.append(f"install .venv-vllm {shlex.quote(wheel)} ninja")
    mlx = [package for engine, package in (("mlx-lm", f"mlx-lm=={MLX_LM_VERSION}"), ("mlx-vlm", f"mlx-vlm=={MLX_VLM_VERSION}")) if engine in engines]
    if mlx:
        steps.append(f"install .venv-mlx {' '.join(map(shlex.quote, mlx))}")
    if "ollama" in engines:
        steps.append(_OLLAMA.format(port=engines["ollama"].port, steps="\n".join("  " + step for step in ollama_steps(deployment))))
    if "llama.cpp" in engines:
        steps.append(_LLAMA_CPP)
    steps.append(f"install .venv-litellm {shlex.quote(f'litellm[proxy]=={LITELLM_VERSION}')}")
    return _SCRIPT.format(title=comment(deployment.title), steps="\n".join(steps))
