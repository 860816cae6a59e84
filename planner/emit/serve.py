"""serve.sh: one server in the foreground: checks, the exact command, a wait until it is healthy. The script is templates/serve.sh."""

from __future__ import annotations

import shlex

from planner.emit.lines import argument_lines, template
from planner.engines import serving_of, title_of
from planner.facts.deployment import Deployment, comment

_TOOLCHAIN = """\
# This KV cache dtype needs FlashInfer, which compiles its kernels at first start.
command -v nvcc >/dev/null || [[ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]] || fail "nvcc is missing; install the CUDA toolkit or set CUDA_HOME"
command -v ninja >/dev/null || fail "ninja is missing; install it with: pip install ninja"
"""


def serve_script(deployment: Deployment) -> str:
    """The text of serve.sh for the only server of a deployment."""
    service = deployment.main
    serving = serving_of(service.engine)
    capacity, reasons = "".join(service.notes[:1]), service.notes[1:]
    return template("serve.sh").format(
        title=comment(f"{deployment.title}, planned for {title_of(service.engine)} {service.version}"),
        capacity=comment(capacity),
        program=serving.command[0],
        package=serving.packages[0].format(version=service.version),
        command=shlex.join(serving.command),
        toolchain=_TOOLCHAIN if service.needs_nvcc else "",
        reasons="\n".join(f"# {comment(reason)}" for reason in reasons),
        arguments="\n".join("  " + line for line in argument_lines(service.argv[len(serving.command) :])),
        pid_file=f"{service.engine}.pid",
        url=service.url,
        ready=shlex.quote(f"ready: {service.url}/v1 serves {service.served_name}"),
    )
