"""One server over several machines: the engine's own multi-node mode (mp), or a Ray cluster. The script is templates/node.sh."""

from __future__ import annotations

import shlex

from planner.emit.containers import only
from planner.emit.lines import argument_lines, template
from planner.facts.deployment import Deployment, Service, comment

MASTER_PORT = 29_501


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
    only(deployment, "nodes", "node.sh")
    service = deployment.main
    script = template("node.sh").format(
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
