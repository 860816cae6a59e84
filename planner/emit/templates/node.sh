#!/usr/bin/env bash
# {title}
# Run it on every machine, the first as rank 0; all need the same vLLM and the same path to the model:
#   ./node.sh mp RANK HEAD_ADDRESS      vLLM's own processes, no further software
#   ./node.sh ray RANK HEAD_ADDRESS     on a Ray cluster (pip install 'ray[default]'), which other jobs may share
# {network}
set -euo pipefail

usage() {{ echo "usage: node.sh mp|ray RANK HEAD_ADDRESS, with RANK from 0 to {last}" >&2; exit 2; }}
[[ $# -eq 3 && $2 =~ ^[0-9]+$ && $2 -le {last} ]] || usage
mode=$1 rank=$2 head=$3

serve() {{
  exec {command} "$@"
}}

case ${{mode}} in
  mp)
    # A worker answers no requests: --headless. The head listens on {port} for clients, on {master} for the others.
    if [[ ${{rank}} -eq 0 ]]; then
      serve --distributed-executor-backend mp --nnodes {nodes} --node-rank 0 --master-addr "${{head}}" --master-port {master}
    fi
    serve --distributed-executor-backend mp --nnodes {nodes} --node-rank "${{rank}}" --master-addr "${{head}}" --master-port {master} --headless
    ;;
  ray)
    if [[ ${{rank}} -ne 0 ]]; then exec ray start --block --address "${{head}}:6379"; fi
    ray start --head --port 6379 --node-ip-address "${{head}}"
    joined=0
    until ((joined >= {nodes})); do
      sleep 2
      joined=$(ray status 2>/dev/null | grep -c "node_" || true)
    done
    serve --distributed-executor-backend ray
    ;;
  *) usage ;;
esac
