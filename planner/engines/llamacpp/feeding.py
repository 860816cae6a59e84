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
        act, half = desk.take(width), desk.take(width if desk.step.is_early else 0)
        desk.give(both, half)
    else:
        gate, up = desk.product(width, Part.GATE), desk.product(width, Part.UP)
        if not flow.gates_shared:
            desk.give(normed)
        act = _gated(desk, gate, up, width)
    out = desk.product(desk.step.hidden, Part.DOWN)
    desk.give(act)
    if flow.gates_shared:  # its weights are the layer's last
        if desk.lent.is_whole:
            desk.send_rest()
        desk.give(normed)
    return out


def _gated(desk: Desk, gate: Block, up: Block, width: int) -> Block:
    """What a gate lets through; in older builds in its place."""
    if desk.step.is_early:
        desk.give(up)
        return gate
    act = desk.take(width)
    desk.give(gate, up)
    return act


def experts(desk: Desk, normed: Block) -> Block:
    """Experts that a router chooses, and the shared one where there is one."""
    flow, hidden = desk.flow, desk.step.hidden
    copy = desk.borrow_router()
    scores, biased = desk.take(flow.experts), desk.take(flow.experts if flow.has_bias else 0)
    if flow.experts_fused:  # Gemma 4 norms for the router, for the experts and for the block beside them
        desk.give(normed)
    desk.give(copy)
    order = desk.take(flow.experts)
    desk.give(biased)
    used = flow.experts_out // hidden
    raw = desk.take(used)
    desk.give(scores)
    weights = desk.take(used)
    desk.give(raw)
    if desk.is_elsewhere:
        return _from_elsewhere(desk, normed, order, weights)
    read = desk.take(hidden) if flow.weighed_before else NOTHING
    if flow.experts_fused:
        normed = desk.take(hidden)
        both = desk.product(2 * flow.wide, Part.GATE_EXPERTS, Part.UP_EXPERTS)
        desk.give(normed)
        act = desk.take(flow.wide)
        desk.give(both)
    elif flow.experts_gated:
        gate = desk.product(flow.wide, Part.GATE_EXPERTS)
        desk.add_bias(Part.GATE_EXPERTS)
        up = desk.product(flow.wide, Part.UP_EXPERTS)
        desk.give(read)
        if not flow.dense:
            desk.give(normed)
        desk.add_bias(Part.UP_EXPERTS)
        act = _gated(desk, gate, up, flow.wide)
    else:
        act = desk.product(flow.wide, Part.UP_EXPERTS)
        if not flow.dense:
            desk.give(normed)
    put_out = desk.product(flow.experts_out, Part.DOWN_EXPERTS)
    desk.give(act)
    desk.add_bias(Part.DOWN_EXPERTS)
    desk.give(order, weights)
    out = desk.take(hidden)
    desk.give(put_out)
    return _with_dense(desk, desk.take(hidden) if flow.experts_fused else normed, out)


def _with_dense(desk: Desk, normed: Block, out: Block) -> Block:
    """The sum of what experts put out and of the block beside them, in the place of the one that is added to."""
    if not desk.flow.dense:
        return out
    beside = dense(desk, normed, desk.flow.dense)
    if desk.flow.experts_fused:
        out, beside = beside, out
    desk.give(beside)
    return out


def _from_elsewhere(desk: Desk, normed: Block, order: Block, weights: Block) -> Block:
    """What experts on another device put out, and for a block beside them that has a norm of its own what that reads; both are sent."""
    flow, hidden = desk.flow, desk.step.hidden
    if flow.experts_fused:
        desk.give(desk.take(hidden))
    elif not flow.dense:
        desk.give(normed)
    desk.give(order, weights)
    if flow.experts_fused:
        normed = desk.take(hidden)
    out = desk.take(hidden)
    desk.send_rest()
    return _with_dense(desk, normed, out)
