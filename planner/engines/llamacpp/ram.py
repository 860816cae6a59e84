"""Main memory as a second ledger: what binds where layers or experts lie there, and whether the machine has it."""

from __future__ import annotations

from dataclasses import replace

from planner.engines.host import too_little
from planner.engines.llamacpp.ledger import LlamaCppLedger
from planner.facts.plan import Plan
from planner.facts.verdict import Rejection, Verdict


def binds(held: LlamaCppLedger) -> str:
    """What keeps a server whose experts lie apart from more, in a sentence; empty where whole layers or nothing does."""
    if held.is_whole or held.layers_on_gpu <= held.layers:
        return ""
    return f"Memory binds: experts of {held.placement.divided} of {held.layers} layers lie in main memory, and are read at its speed."


def within_ram(plan: Plan, note: str) -> Plan:
    """The plan, refused where the machine's main memory does not hold what lies there: llama.cpp maps the file, and would read it from the disk for every token."""
    problem = too_little(plan.host_bytes, note, plan.group.ram_bytes, fix="a machine with more main memory, or weights of fewer bits")
    if problem is None or plan.verdict.falls_short:
        return plan
    short = Rejection(
        code=problem.code, reason=f"{problem.message}: it would read from the disk for every token", short_by_bytes=plan.host_bytes - plan.group.ram_bytes
    )
    return replace(plan, verdict=Verdict.UNLIKELY, rejection=short, requirements_met=False, binds="")
