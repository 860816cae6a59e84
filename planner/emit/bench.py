"""bench.sh: load on the running stack, with the plan's own users and context."""

from __future__ import annotations

from planner.emit.lines import argument_lines, template
from planner.engines.vllm.load import ROUNDS, bench_argv, lengths
from planner.facts.deployment import Deployment, comment


def bench_files(deployment: Deployment) -> dict[str, str]:
    """bench.sh."""
    service = deployment.main
    prompt, output = lengths(service)
    guidellm = (
        *("guidellm", "benchmark", "--target", f"http://127.0.0.1:{deployment.proxy_port}", "--model", service.alias, "--processor", service.model),
        *("--rate-type", "concurrent", "--rate", str(service.users), "--max-requests", str(ROUNDS * service.users)),
        *("--data", f"prompt_tokens={prompt},output_tokens={output}"),
    )
    script = template("bench.sh").format(
        title=comment(deployment.title),
        users=service.users,
        context=service.planned_context,
        load=" \\\n      ".join(argument_lines(bench_argv(deployment))),
        guidellm=" \\\n      ".join(argument_lines(guidellm)),
    )
    return {"bench.sh": script}
