#!/usr/bin/env bash
# What qwen3-vl:30b and qwen3-embedding:0.6b on 1x GeForce RTX 4090 with ollama needs, installed beside this script.
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

command -v ollama >/dev/null || { echo "install Ollama first: https://ollama.com/download" >&2; exit 1; }
export OLLAMA_HOST=127.0.0.1:11434
own=""
if ! ollama list >/dev/null 2>&1; then
  ollama serve >ollama-setup.log 2>&1 &
  own=$!
  trap 'kill "${own}" 2>/dev/null || true' EXIT
  until ollama list >/dev/null 2>&1; do
    kill -0 "${own}" 2>/dev/null || { echo "ollama serve ended, see ollama-setup.log" >&2; exit 1; }
    sleep 1
  done
fi
make_models() {
  ollama pull qwen3-embedding:0.6b
  ollama create qwen3-embedding-0.6b-planned -f Modelfile.embedding
  ollama pull qwen3-vl:30b
  ollama create qwen3-vl-30b-a3b-planned -f Modelfile.chat
}
make_models
install .venv-litellm 'litellm[proxy]==1.106.2'
