"""How vLLM's server is run: its images, its prefix of the proxy, what installs it, which formats hold it."""

from __future__ import annotations

from collections.abc import Sequence

from planner.engines.load import ROUNDS, lengths
from planner.facts.deployment import Deployment
from planner.facts.serving import Container, Serving


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


SERVING = {
    "vllm": Serving(
        command=("vllm", "serve"),
        proxy_prefix="hosted_vllm",
        default_port=8000,
        holds_schemas=True,
        variables=("VLLM",),
        takes_model_first=True,
        loads_folders=True,
        container=Container(
            images={"nvidia": "vllm/vllm-openai:v{version}.0", "amd": "vllm/vllm-openai-rocm:v{version}.0"},
            images_source="a tag of every release (docs/deployment/docker.md); ROCm's since 0.15, in use as v0.31.0, looked up 2026-11-27",
            entrypoint=("vllm", "serve"),
            command_from=2,
            volumes=("hub-cache:/root/.cache/huggingface", "vllm-cache:/root/.cache/vllm"),
            working_folder="",
            environment={"HF_TOKEN": "${HF_TOKEN:-}"},
            shares_ipc=True,
        ),
        packages=("vllm=={version}.0", "ninja"),
        environment=".venv-vllm",
        load_test=bench_argv,
        formats=frozenset(("serve", "k8s", "lws", "helm", "ray", "skypilot", "nodes")),
    )
}
