#!/usr/bin/env bash
# QuantTrio/Qwen3-VL-32B-Instruct-AWQ on 1x A100 SXM4 40GB, planned for vLLM 0.33
# 65,536 tokens of context, 2.0 full-length requests at once, 16.01 GiB of KV cache a GPU
# Stop it with Ctrl-C, or with: kill "$(cat vllm.pid)"
set -euo pipefail

fail() { echo "serve.sh: $*" >&2; exit 1; }
command -v vllm >/dev/null || fail "vllm is not on PATH; install it in a virtual environment: pip install vllm==0.33.0"
command -v curl >/dev/null || fail "curl is needed to wait for the server"
# This KV cache dtype needs FlashInfer, which compiles its kernels at first start.
command -v nvcc >/dev/null || [[ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]] || fail "nvcc is missing; install the CUDA toolkit or set CUDA_HOME"
command -v ninja >/dev/null || fail "ninja is missing; install it with: pip install ninja"

# tensor_parallel_size: one GPU
# pipeline_parallel_size: no pipeline needed
# gpu_memory_utilization: the most that is planned: graphs and workspaces outside vLLM's budget need the rest; 38.87 of 39.38 GiB are free at start on a server
# max_model_len: as asked
# max_num_seqs: 2.0 full-length requests fit at once; shorter ones share the same cache
# max_num_batched_tokens: vLLM's default for this GPU
# kv_cache_dtype: 16-bit would end at 58,304 tokens
# enforce_eager: CUDA graphs fit
args=(
  QuantTrio/Qwen3-VL-32B-Instruct-AWQ
  --served-model-name qwen3-vl-32b-awq
  --host 127.0.0.1
  --port 8000
  --tensor-parallel-size 1
  --max-model-len 65536
  --gpu-memory-utilization 0.95
  --max-num-seqs 16
  --max-num-batched-tokens 2048
  --kv-cache-dtype fp8_e4m3
  --enable-auto-tool-choice
  --tool-call-parser hermes
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
echo 'ready: http://127.0.0.1:8000/v1 serves qwen3-vl-32b-awq'
wait "${server}"
