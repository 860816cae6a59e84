"""Feed-forward blocks and experts as llama.cpp lays them out.

Source: llama.cpp src/llama-graph.cpp build_ffn, build_moe_ffn (v0.5.0).
"""

from __future__ import annotations

from planner.engines.llamacpp.arena import NOTHING, Block
from planner.engines.llamacpp.desk import Desk
from planner.engines.llamacpp.layers import Part


def dense(desk: Desk, normed: Block, width: int) -> Block:
    """A block of so many values a token; what it reads is given back."""
    flow = desk.flow
    if not flow.is_gated:
        act = desk.product(width, Part.UP)
        desk.give(normed)
    elif flow.dense_fused:
        both = desk.product(2 * width, Part.UP, Part.GATE)
        desk.give(normed)
        act = desk.take(width)
        desk.give(both)
    else:
        gate, up = desk.product(width, Part.GATE), desk.product(width, Part.UP)
        if not flow.gates_shared:
            desk.give(normed)
        act = desk.take(width)
        desk.give(gate, up)
    out = desk.product(desk.step.hidden, Part.DOWN)
    desk.give(act)
    if flow.gates_shared:
        desk.give(normed)
    return out


def experts(desk: Desk, normed: Block) -> Block:
    """Experts that a router chooses, and the shared one where there is one."""
    flow, hidden = desk.flow, desk.step.hidden
    scores, biased = desk.take(flow.experts), desk.take(flow.experts if flow.has_bias else 0)
    if flow.experts_fused:  # Gemma 4 norms for the router, for the experts and for the block beside them
        desk.give(normed)
    order = desk.take(flow.experts)
    desk.give(biased, scores)
    read = desk.take(hidden) if flow.weighed_before else NOTHING
    if flow.experts_fused:
        normed = desk.take(hidden)
        both = desk.product(2 * flow.wide, Part.GATE_EXPERTS, Part.UP_EXPERTS)
        desk.give(normed)
        act = desk.take(flow.wide)
        desk.give(both)
    elif flow.experts_gated:
        gate, up = desk.product(flow.wide, Part.GATE_EXPERTS), desk.product(flow.wide, Part.UP_EXPERTS)
        desk.give(read)
        if not flow.dense:
            desk.give(normed)
        act = desk.take(flow.wide)
        desk.give(gate, up)
    else:
        act = desk.product(flow.wide, Part.UP_EXPERTS)
        if not flow.dense:
            desk.give(normed)
    put_out = desk.product(flow.experts_out, Part.DOWN_EXPERTS)
    desk.give(act, order)
    out = desk.take(hidden)
    desk.give(put_out)
    if flow.dense:
        desk.give(dense(desk, desk.take(hidden) if flow.experts_fused else normed, flow.dense))
    return out
