#!/usr/bin/env bash
# cyankiwi/Ministral-3-14B-Instruct-2512-AWQ-4bit on 2x GeForce RTX 4090, planned for vLLM 0.33
# 131,072 tokens of context, 1.6 full-length requests at once, 16.39 GiB of KV cache a GPU
# Stop it with Ctrl-C, or with: kill "$(cat vllm.pid)"
set -euo pipefail

fail() { echo "serve.sh: $*" >&2; exit 1; }
command -v vllm >/dev/null || fail "vllm is not on PATH; install it in a virtual environment: pip install vllm==0.33.0"
command -v curl >/dev/null || fail "curl is needed to wait for the server"

# tensor_parallel_size: divides 32 attention heads and 8 key-value heads; each GPU holds a share of every layer
# pipeline_parallel_size: no pipeline needed
# gpu_memory_utilization: the most that is planned: graphs and workspaces outside vLLM's budget need the rest; 23.06 of 23.51 GiB are free at start on a server
# max_model_len: as asked
# max_num_seqs: 1.6 full-length requests fit at once; shorter ones share the same cache
# max_num_batched_tokens: vLLM's default for this GPU
# kv_cache_dtype: 16-bit: 131,072 tokens fit without quantizing the cache
# enforce_eager: CUDA graphs fit
args=(
  cyankiwi/Ministral-3-14B-Instruct-2512-AWQ-4bit
  --served-model-name ministral-3-14b-awq
  --host 127.0.0.1
  --port 8000
  --tensor-parallel-size 2
  --max-model-len 131072
  --gpu-memory-utilization 0.95
  --max-num-seqs 16
  --max-num-batched-tokens 2048
  --enable-auto-tool-choice
  --tool-call-parser mistral
)

vllm serve "${args[@]}" &
server=$!
echo "${server}" >vllm.pid
trap 'kill "${server}" 2>/dev/null || true' INT TERM
trap 'rm -f vllm.pid' EXIT

# Loading and graph capture take minutes; the server answers /health once it can serve.
until curl --silent --fail --noproxy '*' --output /dev/null --max-time 5 http://127.0.0.1:8000/health; do
  kill -0 "${server}" 2>/dev/null || fail "the server ended before it was healthy; its log is above"
  sleep 2
done
echo 'ready: http://127.0.0.1:8000/v1 serves ministral-3-14b-awq'
wait "${server}"
