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
    exec {load}
    ;;
  guidellm)
    exec {guidellm}
    ;;
  *)
    echo "usage: bench.sh vllm|guidellm" >&2
    exit 2
    ;;
esac
