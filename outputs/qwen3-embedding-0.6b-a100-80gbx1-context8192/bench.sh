#!/usr/bin/env bash
# Load for Qwen/Qwen3-Embedding-0.6B on 1x A100 SXM4 80GB: 81 at a time, 8192 tokens of context each, through the proxy.
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
      --backend openai-embeddings \
      --base-url http://127.0.0.1:8080 \
      --endpoint /v1/embeddings \
      --model qwen3-embedding-0.6b \
      --tokenizer Qwen/Qwen3-Embedding-0.6B \
      --dataset-name random \
      --random-input-len 8127 \
      --random-output-len 1 \
      --max-concurrency 81 \
      --num-prompts 324 \
      --percentile-metrics ttft,tpot,itl,e2el \
      --save-result
    ;;
  guidellm)
    exec guidellm benchmark \
      --target http://127.0.0.1:8080 \
      --model qwen3-embedding-0.6b \
      --processor Qwen/Qwen3-Embedding-0.6B \
      --rate-type concurrent \
      --rate 81 \
      --max-requests 324 \
      --data prompt_tokens=8127,output_tokens=1
    ;;
  *)
    echo "usage: bench.sh vllm|guidellm" >&2
    exit 2
    ;;
esac
