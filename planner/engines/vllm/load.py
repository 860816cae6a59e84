"""`vllm bench serve`: load on any OpenAI server, with the plan's own users and context."""

from __future__ import annotations

from collections.abc import Sequence

from planner.engines.load import ROUNDS, lengths
from planner.facts.deployment import Deployment


def bench_argv(deployment: Deployment) -> Sequence[str]:
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
