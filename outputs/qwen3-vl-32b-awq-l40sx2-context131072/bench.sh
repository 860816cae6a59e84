#!/usr/bin/env bash
# Load for QuantTrio/Qwen3-VL-32B-Instruct-AWQ on 2x NVIDIA L40S: 1 at a time, 131072 tokens of context each, through the proxy.
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
      --model qwen3-vl-32b-awq \
      --tokenizer QuantTrio/Qwen3-VL-32B-Instruct-AWQ \
      --dataset-name random \
      --random-input-len 129984 \
      --random-output-len 1024 \
      --max-concurrency 1 \
      --num-prompts 4 \
      --percentile-metrics ttft,tpot,itl,e2el \
      --save-result
    ;;
  guidellm)
    exec guidellm benchmark \
      --target http://127.0.0.1:8080 \
      --model qwen3-vl-32b-awq \
      --processor QuantTrio/Qwen3-VL-32B-Instruct-AWQ \
      --rate-type concurrent \
      --rate 1 \
      --max-requests 4 \
      --data prompt_tokens=129984,output_tokens=1024
    ;;
  *)
    echo "usage: bench.sh vllm|guidellm" >&2
    exit 2
    ;;
esac
