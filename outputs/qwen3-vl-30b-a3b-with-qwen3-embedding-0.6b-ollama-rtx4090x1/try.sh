#!/usr/bin/env bash
# Is qwen3-vl:30b and qwen3-embedding:0.6b on 1x GeForce RTX 4090 with ollama there for an agent? One small request to each model, through the proxy.
set -euo pipefail
: "${LITELLM_MASTER_KEY:?export the master key of the proxy first}"

# ask PATH BODY: the answer, or the proxy's own error
ask() {
  curl --silent --show-error --fail-with-body --max-time 600 "http://127.0.0.1:8080$1" \
    --header "Authorization: Bearer ${LITELLM_MASTER_KEY}" --header 'Content-Type: application/json' --data "$2"
  echo
}

ask /v1/chat/completions '{"model": "qwen3-vl-30b-a3b", "messages": [{"role": "user", "content": "Answer in one word: are you there?"}], "max_tokens": 32}'
ask /v1/embeddings '{"model": "qwen3-embedding-0.6b", "input": ["which tools are there?"]}' | cut -c 1-200
