"""serve.sh: one vLLM server in the foreground: checks, the exact command, a wait until it is healthy."""

from __future__ import annotations

import shlex

from planner.emit.lines import argument_lines, comment
from planner.facts.deployment import Deployment

_SCRIPT = """\
#!/usr/bin/env bash
# {title}
# {capacity}
# Stop it with Ctrl-C, or with: kill "$(cat {pid_file})"
set -euo pipefail

fail() {{ echo "serve.sh: $*" >&2; exit 1; }}
command -v vllm >/dev/null || fail "vllm is not on PATH; install it in a virtual environment: pip install vllm=={version}.0"
command -v curl >/dev/null || fail "curl is needed to wait for the server"
{toolchain}
{reasons}
args=(
{arguments}
)

vllm serve "${{args[@]}}" &
server=$!
echo "${{server}}" >{pid_file}
trap 'kill "${{server}}" 2>/dev/null || true' INT TERM
trap 'rm -f {pid_file}' EXIT

# Loading and graph capture take minutes; the server answers /health once it can serve.
until curl --silent --fail --output /dev/null --max-time 5 {url}/health; do
  kill -0 "${{server}}" 2>/dev/null || fail "the server ended before it was healthy; its log is above"
  sleep 2
done
echo {ready}
wait "${{server}}"
"""

_TOOLCHAIN = """\
# This KV cache dtype needs FlashInfer, which compiles its kernels at first start.
command -v nvcc >/dev/null || [[ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]] || fail "nvcc is missing; install the CUDA toolkit or set CUDA_HOME"
command -v ninja >/dev/null || fail "ninja is missing; install it with: pip install ninja"
"""


def serve_script(deployment: Deployment) -> str:
    """The text of serve.sh for the only server of a deployment."""
    service = deployment.main
    capacity, reasons = "".join(service.notes[:1]), service.notes[1:]
    return _SCRIPT.format(
        title=comment(f"{deployment.title}, planned for vLLM {service.version}"),
        capacity=comment(capacity),
        version=service.version,
        toolchain=_TOOLCHAIN if service.needs_nvcc else "",
        reasons="\n".join(f"# {comment(reason)}" for reason in reasons),
        arguments="\n".join("  " + line for line in argument_lines(service.argv[2:])),
        pid_file="vllm.pid",
        url=service.url,
        ready=shlex.quote(f"ready: {service.url}/v1 serves {service.served_name}"),
    )
