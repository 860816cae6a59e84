#!/usr/bin/env bash
# What QuantTrio/Qwen3-VL-32B-Instruct-AWQ and Qwen/Qwen3-Embedding-0.6B on 2x GeForce RTX 4090 needs, installed beside this script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# install FOLDER PACKAGE...: a virtual environment of its own, by uv where it is there
install() {
  local folder=$1
  shift
  if command -v uv >/dev/null; then
    [[ -d ${folder} ]] || uv venv --python '>=3.11' "${folder}"
    uv pip install --python "${folder}/bin/python" "$@"
  else
    [[ -d ${folder} ]] || python3 -m venv "${folder}"
    "${folder}/bin/python" -m pip install "$@"
  fi
}

install .venv-vllm vllm==0.33.0 ninja
install .venv-litellm 'litellm[proxy]==1.106.2'
