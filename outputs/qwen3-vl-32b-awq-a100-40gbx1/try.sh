#!/usr/bin/env bash
# Is QuantTrio/Qwen3-VL-32B-Instruct-AWQ on 1x A100 SXM4 40GB there for an agent? One small request to each model, through the proxy.
set -euo pipefail
: "${LITELLM_MASTER_KEY:?export the master key of the proxy first}"

# ask PATH BODY: the answer, or the proxy's own error
ask() {
  curl --silent --show-error --fail-with-body --max-time 600 "http://127.0.0.1:8080$1" \
    --header "Authorization: Bearer ${LITELLM_MASTER_KEY}" --header 'Content-Type: application/json' --data "$2"
  echo
}

ask /v1/chat/completions '{"model": "qwen3-vl-32b-awq", "messages": [{"role": "user", "content": "Answer in one word: are you there?"}], "max_tokens": 32}'
