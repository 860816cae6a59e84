"""bench.sh: load on the running stack, with the plan's own users and context."""

from __future__ import annotations

from planner.emit.lines import argument_lines, comment
from planner.facts.deployment import Deployment, Service

_SCRIPT = """\
#!/usr/bin/env bash
# Load for {title}: {users} at a time, {context} tokens of context each, through the proxy.
#   ./bench.sh vllm        with `vllm bench serve` (comes with vLLM)
#   ./bench.sh guidellm    with GuideLLM (pip install guidellm)
set -euo pipefail
here=$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)
PATH="${{here}}/.venv-vllm/bin:${{PATH}}"
: "${{LITELLM_MASTER_KEY:?export the master key of the proxy first}}"
export OPENAI_API_KEY="${{LITELLM_MASTER_KEY}}"

case ${{1:-vllm}} in
  vllm)
    exec {vllm}
    ;;
  guidellm)
    exec {guidellm}
    ;;
  *)
    echo "usage: bench.sh vllm|guidellm" >&2
    exit 2
    ;;
esac
"""
ROUNDS = 4  # requests of each user
MARGIN = 64  # tokens of the chat template around a prompt


def lengths(service: Service) -> tuple[int, int]:
    """Tokens of a prompt and of an answer that together fill the context."""
    context = service.planned_context
    output = 1 if service.task == "embedding" else max(1, min(1024, context // 8))
    return max(1, context - output - min(MARGIN, context // 8)), output


def vllm_bench_argv(deployment: Deployment) -> tuple[str, ...]:
    """`vllm bench serve` for the main service."""
    service = deployment.main
    prompt, output = lengths(service)
    is_chat = service.task == "chat"
    return (
        *("vllm", "bench", "serve", "--backend", "openai-chat" if is_chat else "openai-embeddings"),
        *("--base-url", f"http://127.0.0.1:{deployment.proxy_port}", "--endpoint", "/v1/chat/completions" if is_chat else "/v1/embeddings"),
        *("--model", service.alias, "--tokenizer", service.model, "--dataset-name", "random"),
        *("--random-input-len", str(prompt), "--random-output-len", str(output)),
        *("--max-concurrency", str(service.users), "--num-prompts", str(ROUNDS * service.users)),
        *("--percentile-metrics", "ttft,tpot,itl,e2el", "--save-result"),
    )


def bench_files(deployment: Deployment) -> dict[str, str]:
    """bench.sh."""
    service = deployment.main
    prompt, output = lengths(service)
    guidellm = (
        *("guidellm", "benchmark", "--target", f"http://127.0.0.1:{deployment.proxy_port}", "--model", service.alias, "--processor", service.model),
        *("--rate-type", "concurrent", "--rate", str(service.users), "--max-requests", str(ROUNDS * service.users)),
        *("--data", f"prompt_tokens={prompt},output_tokens={output}"),
    )
    script = _SCRIPT.format(
        title=comment(deployment.title),
        users=service.users,
        context=service.planned_context,
        vllm=" \\\n      ".join(argument_lines(vllm_bench_argv(deployment))),
        guidellm=" \\\n      ".join(argument_lines(guidellm)),
    )
    return {"bench.sh": script}


__all__ = ["bench_files", "lengths", "vllm_bench_argv"]
