#!/usr/bin/env bash
# What mlx-community/Qwen3-VL-32B-Instruct-8bit and mlx-community/Ministral-3-14B-Instruct-2512-8bit and mlx-community/Qwen3-Embedding-0.6B-8bit on 1x Apple M4 Max 128 GB with mlx needs, installed beside this script.
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

install .venv-mlx mlx-vlm==0.7.10
install .venv-litellm 'litellm[proxy]==1.106.2'
