"""Layers that keep a state instead of a cache, as llama.cpp lays them out: delta nets, Mamba 2, short convolutions.

Source: llama.cpp src/models/delta-net-base.cpp, qwen35.cpp, kimi-linear.cpp, mamba-base.cpp, lfm2.cpp (v0.5.0).
"""

from __future__ import annotations

from planner.engines.llamacpp.arena import NOTHING, Block
from planner.engines.llamacpp.desk import Desk
from planner.engines.llamacpp.layers import Part


def delta(desk: Desk) -> Block:
    """A gated delta net (Qwen3-Next, Qwen3.5): convolution, the rule with its state, a gate."""
    flow, step = desk.flow, desk.step
    kept, state = flow.kept_bytes * step.sequences, flow.state_bytes * step.sequences
    is_lent, normed = desk.lent.is_whole, desk.take_normed()
    copy = desk.borrow(Part.JOINED)
    before = desk.take_bytes(kept)
    mixed = desk.take(flow.convolved)
    desk.give(copy)
    joined = desk.take(flow.convolved, kept)
    desk.give(before, mixed)
    past = NOTHING if is_lent else desk.take_bytes(state)
    copy = desk.take_bytes(4 * flow.convolved + flow.kept_bytes if is_lent else 0)
    convolved = desk.take(flow.convolved)
    desk.give(joined, copy)
    side = (flow.convolved - flow.inner) // 2
    queries, keys = desk.take(side), desk.take(side)
    raw = desk.product(flow.deltas, Part.DECAY)
    decay = desk.take(flow.deltas)
    desk.give(raw)
    copy = desk.borrow(Part.LEARNED)
    if is_lent:  # the state is sent with this matrix
        past = desk.take_bytes(state)
    raw = desk.take(flow.deltas)
    desk.give(copy)
    learned = desk.take(flow.deltas)
    desk.give(raw)
    ruled = desk.take(flow.inner, state)
    desk.give(queries, keys, convolved, decay, learned, past)
    scaled = desk.take(flow.inner)
    desk.give(ruled)
    gate = desk.product(flow.inner, Part.MIXER_GATE)
    desk.give(normed)
    opened = desk.take(flow.inner)
    desk.give(gate, opened)
    projected = desk.product(step.hidden, Part.OUT)
    desk.give(scaled)
    return projected


def kda(desk: Desk) -> Block:
    """Kimi's delta attention: three convolutions, a gate for the rule and one for what comes of it."""
    flow, step = desk.flow, desk.step
    side = flow.convolved // 3
    kept, state = flow.kept_bytes * step.sequences, flow.state_bytes * step.sequences
    normed, before = desk.take_normed(), desk.take_bytes(kept)
    joined = []
    for _ in range(3):
        made = desk.take(side)
        joined.append(desk.take(side, kept // 3))
        desk.give(made)
    desk.give(before)
    past = desk.take_bytes(state)
    parts = []
    for part in joined:
        convolved = desk.take(side)
        desk.give(part)
        scaled = desk.take(side)
        desk.give(convolved)
        parts.append(scaled)
    low = desk.take(flow.low)
    decay = desk.take(flow.inner)
    desk.give(low)
    gate = desk.take(flow.inner)
    desk.give(decay)
    ruled = desk.take(flow.inner, state)
    desk.give(*parts, gate, past)
    out = desk.take(flow.inner)
    desk.give(ruled)
    scaled = desk.take(flow.inner)
    desk.give(out)
    low = desk.take(flow.low)
    desk.give(normed)
    gate = desk.take(flow.inner)
    desk.give(low)
    opened = desk.take(flow.inner)
    desk.give(gate, opened)
    out = desk.take(flow.inner)
    desk.give(scaled)
    projected = desk.product(step.hidden, Part.OUT)
    desk.give(out)
    return projected


def mamba2(desk: Desk) -> Block:
    """Mamba 2: one matrix in, a convolution, the scan with its state, a gate."""
    flow, step = desk.flow, desk.step
    kept, state = flow.kept_bytes * step.sequences, flow.state_bytes * step.sequences
    before, normed = desk.take_bytes(kept), desk.take_normed()
    made = desk.product(flow.projected, Part.JOINED)
    desk.give(normed)
    joined = desk.take(flow.convolved, kept)
    desk.give(before)
    convolved = desk.take(flow.convolved)
    desk.give(joined)
    scanned = desk.take(flow.inner, state)
    gate = desk.take(flow.inner)
    desk.give(made)
    skipped = desk.take(flow.inner)
    desk.give(convolved, scanned)
    opened = desk.take(flow.inner)
    desk.give(gate, skipped)
    scaled = desk.take(flow.inner)
    desk.give(opened)
    projected = desk.product(step.hidden, Part.OUT)
    desk.give(scaled)
    return projected


def convolution(desk: Desk) -> Block:
    """A short convolution between two gates (LFM2)."""
    flow, step = desk.flow, desk.step
    kept = flow.kept_bytes * step.sequences
    before, normed = desk.take_bytes(kept), desk.take_normed()
    made = desk.product(flow.projected, Part.JOINED)
    desk.give(normed)
    gated = desk.take(flow.inner)
    joined = desk.take(flow.inner, kept)
    desk.give(before, gated)
    convolved = desk.take(flow.inner)
    desk.give(joined, made)
    projected = desk.product(step.hidden, Part.OUT)
    desk.give(convolved)
    return projected
