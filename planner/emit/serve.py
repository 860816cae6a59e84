"""serve.sh: checks, the exact command, a wait until the server is healthy."""

from __future__ import annotations

import shlex

from planner.plan import Plan
from planner.units import gib, tokens

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
echo "ready: {url}/v1 serves {served}"
wait "${{server}}"
"""

_TOOLCHAIN = """\
# This KV cache dtype needs FlashInfer, which compiles its kernels at first start.
command -v nvcc >/dev/null || [[ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]] || fail "nvcc is missing; install the CUDA toolkit or set CUDA_HOME"
command -v ninja >/dev/null || fail "ninja is missing; install it with: pip install ninja"
"""


def _comment(text: str) -> str:
    return " ".join(text.split())


def _argument_lines(argv: tuple[str, ...]) -> list[str]:
    """One flag and its value a line."""
    lines = [shlex.quote(argv[2])]
    for word in argv[3:]:
        if word.startswith("--"):
            lines.append(shlex.quote(word))
        else:
            lines[-1] += " " + shlex.quote(word)
    return lines


def serve_script(plan: Plan) -> str:
    """The text of serve.sh."""
    ledger, config, group = plan.choice.expected, plan.config, plan.request.group
    capacity = (
        f"{tokens(config.max_model_len)} tokens of text; an encoder keeps no KV cache"
        if plan.model.is_encoder
        else f"{tokens(config.max_model_len)} tokens of context, {ledger.max_concurrency:.1f} full-length requests at once, {gib(ledger.kv_cache_bytes)} of KV cache a GPU"
    )
    reasons = "\n".join(f"# {name}: {_comment(reason)}" for name, reason in plan.choice.reasons)
    return _SCRIPT.format(
        title=_comment(f"{plan.repo} on {group.count}x {group.gpu.title}, planned for vLLM {config.vllm_version}"),
        capacity=capacity,
        version=config.vllm_version,
        toolchain=_TOOLCHAIN if plan.needs_nvcc else "",
        reasons=reasons,
        arguments="\n".join("  " + line for line in _argument_lines(plan.argv)),
        pid_file="vllm.pid",
        url=f"http://{plan.host if plan.host != '0.0.0.0' else '127.0.0.1'}:{plan.port}",  # noqa: S104 - compared, not bound
        served=plan.served_name,
    )
