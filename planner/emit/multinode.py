"""One vLLM server over several machines: vLLM's own multi-node mode (mp), or a Ray cluster."""

from __future__ import annotations

import shlex

from planner.emit.containers import only
from planner.emit.lines import argument_lines, comment
from planner.facts.deployment import Deployment, Service

MASTER_PORT = 29_501

_SCRIPT = """\
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
"""


def network_note(deployment: Deployment) -> str:
    """What crosses the network: the hidden states of a step at each boundary between machines."""
    hidden = deployment.main.hidden_bytes_per_token
    batch = deployment.main.max_num_batched_tokens
    return (
        f"Over each of the {deployment.nodes - 1} links a token sends {hidden:,} bytes, a full batch {hidden * batch / 1e6:.1f} MB; "
        "a token waits for every link once"
    )


def multinode_files(deployment: Deployment) -> dict[str, str]:
    """node.sh."""
    only(deployment, "vllm", "node.sh")
    service = deployment.main
    script = _SCRIPT.format(
        title=comment(deployment.title),
        network=comment(network_note(deployment)),
        last=deployment.nodes - 1,
        nodes=deployment.nodes,
        command=" \\\n    ".join(argument_lines(service.argv)),
        port=service.port,
        master=MASTER_PORT,
    )
    return {"node.sh": script}


def leader_worker_command(service: Service, nodes: int) -> str:
    """The same for every pod of a LeaderWorkerSet, which knows its index and its leader's address."""
    shared = f"{shlex.join(service.argv)} --distributed-executor-backend mp --nnodes {nodes}"
    where = f'--node-rank "${{LWS_WORKER_INDEX}}" --master-addr "${{LWS_LEADER_ADDRESS}}" --master-port {MASTER_PORT}'
    return f'if [ "${{LWS_WORKER_INDEX}}" != 0 ]; then set -- --headless; fi; exec {shared} {where} "$@"'
