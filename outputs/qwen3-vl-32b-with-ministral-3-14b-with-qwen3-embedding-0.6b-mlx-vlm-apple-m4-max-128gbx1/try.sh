#!/usr/bin/env bash
# Is mlx-community/Qwen3-VL-32B-Instruct-8bit and mlx-community/Ministral-3-14B-Instruct-2512-8bit and mlx-community/Qwen3-Embedding-0.6B-8bit on 1x Apple M4 Max 128 GB with mlx there for an agent? One small request to each model, through the proxy.
set -euo pipefail
: "${LITELLM_MASTER_KEY:?export the master key of the proxy first}"

# ask PATH BODY: the answer, or the proxy's own error
ask() {
  curl --silent --show-error --fail-with-body --max-time 600 "http://127.0.0.1:8080$1" \
    --header "Authorization: Bearer ${LITELLM_MASTER_KEY}" --header 'Content-Type: application/json' --data "$2"
  echo
}

ask /v1/chat/completions '{"model": "qwen3-vl-32b", "messages": [{"role": "user", "content": "Answer in one word: are you there?"}], "max_tokens": 32}'
ask /v1/chat/completions '{"model": "ministral-3-14b", "messages": [{"role": "user", "content": "Answer in one word: are you there?"}], "max_tokens": 32}'
ask /v1/embeddings '{"model": "qwen3-embedding-0.6b", "input": ["which tools are there?"]}' | cut -c 1-200
