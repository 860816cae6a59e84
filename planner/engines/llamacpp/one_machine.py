"""llama-server and Ollama run on one machine: chips whose memory is the machine's own are a machine each."""

from __future__ import annotations

from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup


def check_that_it_is_one(group: GpuGroup, *, is_ollama: bool) -> None:
    """Raises PlannerError for GPUs of several machines."""
    whole = [member.gpu for member in group.members if member.gpu.unified_memory]
    machines = max(group.nodes, len(whole))
    if machines < 2:
        return
    chip = whole[0].title if len(whole) == machines else group.gpu.title
    message = f"{machines} of {chip} are {machines} machines, and {'Ollama' if is_ollama else 'llama-server'} runs on one"
    others = "it has no way over several" if is_ollama else "over several it goes by RPC (rpc-server there, --rpc HOST:PORT here), which is not planned"
    raise PlannerError(message, f"leave out --count: {others}")
