"""Main memory as a second ledger: what binds where layers or experts lie there, and whether the machine has it."""

from __future__ import annotations

from dataclasses import replace

from planner.engines.host import leaves_little, main_memory_bytes, too_little
from planner.engines.llamacpp.ledger import LlamaCppLedger
from planner.facts.hardware import GpuGroup
from planner.facts.plan import Plan
from planner.facts.verdict import Rejection, Verdict


def binds(held: LlamaCppLedger, *, is_pinned: bool) -> str:
    """What keeps a server from more, in a sentence, where a part of it lies in main memory; empty where nothing does."""
    if held.is_whole:
        return ""
    if held.layers_on_gpu > held.layers:
        return f"Memory binds: experts of {held.placement.divided} of {held.layers} layers lie in main memory, and are read at its speed."
    outside = f"Memory binds: {held.layers + 1 - held.layers_on_gpu} of {held.layers + 1} layers run on the CPU, at its speed"
    return f"{outside}." if is_pinned else f"{outside}: not as asked (exit code 1) unless --gpu-layers {held.layers_on_gpu} asks for it."


def holds(held: LlamaCppLedger, group: GpuGroup) -> bool:
    """Whether main memory has what lies there, where it is known how much there is."""
    ram_bytes = main_memory_bytes(group, held.used_bytes)
    return not ram_bytes or held.host.total_bytes <= ram_bytes


def within_ram(plan: Plan, note: str) -> Plan:
    """The plan, no sure one where what lies in main memory leaves little of it, and refused where the machine's does not hold it.

    llama.cpp maps the file: what does not fit is read from the disk for every token.
    """
    ram_bytes = main_memory_bytes(plan.group, plan.used_bytes)
    problem = too_little(plan.host_bytes, note, ram_bytes, fix="a machine with more main memory, or weights of fewer bits")
    if plan.verdict.falls_short:
        return plan
    if problem is None:
        return replace(plan, verdict=Verdict.TIGHT) if narrow(plan) else plan
    short = Rejection(code=problem.code, reason=f"{problem.message}: it would read from the disk for every token", short_by_bytes=plan.host_bytes - ram_bytes)
    return replace(plan, verdict=Verdict.UNLIKELY, rejection=short, requirements_met=False, binds="")


def narrow(plan: Plan) -> str:
    """How little main memory is left, in words, where layers or experts lie there; empty where that is enough."""
    return "" if plan.is_all_on_gpus else leaves_little(plan.group, plan.host_bytes, main_memory_bytes(plan.group, plan.used_bytes))
