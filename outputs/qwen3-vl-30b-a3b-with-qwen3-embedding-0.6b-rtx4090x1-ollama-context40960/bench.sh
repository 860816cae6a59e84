#!/usr/bin/env bash
# Load for qwen3-vl:30b and qwen3-embedding:0.6b on 1x GeForce RTX 4090 with ollama: 1 at a time, 40960 tokens of context each, through the proxy.
#   ./bench.sh vllm        with `vllm bench serve` (comes with vLLM)
#   ./bench.sh guidellm    with GuideLLM (pip install guidellm)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH="${here}/.venv-vllm/bin:${PATH}"
: "${LITELLM_MASTER_KEY:?export the master key of the proxy first}"
export OPENAI_API_KEY="${LITELLM_MASTER_KEY}"

case ${1:-vllm} in
  vllm)
    exec vllm bench serve \
      --backend openai-chat \
      --base-url http://127.0.0.1:8080 \
      --endpoint /v1/chat/completions \
      --model qwen3-vl-30b-a3b \
      --tokenizer qwen3-vl:30b \
      --dataset-name random \
      --random-input-len 39872 \
      --random-output-len 1024 \
      --max-concurrency 1 \
      --num-prompts 4 \
      --percentile-metrics ttft,tpot,itl,e2el \
      --save-result
    ;;
  guidellm)
    exec guidellm benchmark \
      --target http://127.0.0.1:8080 \
      --model qwen3-vl-30b-a3b \
      --processor qwen3-vl:30b \
      --rate-type concurrent \
      --rate 1 \
      --max-requests 4 \
      --data prompt_tokens=39872,output_tokens=1024
    ;;
  *)
    echo "usage: bench.sh vllm|guidellm" >&2
    exit 2
    ;;
esac
