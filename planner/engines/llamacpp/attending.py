"""Attention as llama.cpp lays it out, in the order in which its allocator takes and frees what it needs.

Source: llama.cpp src/llama-graph.cpp build_attn, build_attn_mha, src/models/*.cpp (v0.5.0).
"""

from __future__ import annotations

from planner.engines.llamacpp.arena import NOTHING, Block
from planner.engines.llamacpp.desk import Desk
from planner.engines.llamacpp.feeding import dense
from planner.engines.llamacpp.layers import Part


def attention(desk: Desk) -> Block:
    """Queries, keys and values, attention, a gate where there is one, the output's matrix."""
    flow, normed = desk.flow, desk.take_normed()
    if flow.joined:
        out = _attended(desk, _from_one_matrix(desk, normed))
    elif flow.spread:
        out = _attended(desk, _spread(desk, normed))
    else:
        made = desk.product(flow.queries * (2 if flow.gated_query else 1), Part.QUERY)
        if not flow.keys and not _is_kept(desk):
            desk.give(normed)
        is_anew = flow.is_turned or flow.scales_queries
        queries = desk.take(flow.queries) if is_anew else made
        if is_anew and not flow.gated_query:
            desk.give(made)
        if flow.norms_heads:  # positions come with the norm's weights
            desk.send_first(flow.queries // max(1, flow.heads))
        desk.send(desk.late.factors)
        queries = _turned(desk, queries, flow.queries, is_rotated=desk.step.turns_keys)
        _keys_and_values(desk, normed)
        out = _attended(desk, queries)
        if flow.beside:
            return _fed_beside(desk, normed, out)
        out = _gated(desk, out, made, normed)
    projected = desk.product(desk.step.hidden, Part.OUT)
    desk.give(out)
    if flow.has_streams:
        low = desk.take(flow.low)
        past = desk.take(desk.step.hidden)
        desk.give(low, normed, past)
    return projected


def _from_one_matrix(desk: Desk, normed: Block) -> Block:
    """Queries, of what one matrix makes together with keys and values."""
    flow, step = desk.flow, desk.step
    joined = desk.product(flow.queries + flow.keys + flow.values, Part.JOINED)
    desk.give(normed)
    if step.is_early:
        return _from_copies(desk, joined)
    queries = _turned(desk, desk.take(flow.queries), flow.queries, is_rotated=step.turns_keys)
    values = _turned(desk, desk.take(flow.values), flow.values, is_rotated=True) if step.turns_values else NOTHING
    keys = desk.take(flow.keys)
    desk.give(joined)
    keys = _turned(desk, keys, flow.keys, is_rotated=step.turns_keys)
    desk.give(keys, values)
    return queries


def _from_copies(desk: Desk, joined: Block) -> Block:
    """Queries, where they, keys and values are each copied before they are turned."""
    flow = desk.flow
    copied = desk.take(flow.queries)
    queries = desk.take(flow.queries)
    desk.give(copied)
    copied = desk.take(flow.keys)
    keys = desk.take(flow.keys)
    desk.give(copied)
    values = desk.take(flow.values)
    desk.give(joined, keys, values)
    return queries


def _spread(desk: Desk, normed: Block) -> Block:
    """Queries, where keys and values of every head are made of a latent vector (MLA as DeepSeek-V2's files of 2024 have it)."""
    flow = desk.flow
    low = desk.product(flow.low, Part.JOINED)
    made = desk.product(flow.queries, Part.QUERY)
    desk.give(low)
    turned = desk.take(flow.heads * flow.rope)
    queries = desk.take(flow.queries)
    desk.give(made, turned)
    raw = desk.product(flow.spread + flow.rope, Part.KEY)
    desk.give(normed)
    latent = desk.take(flow.spread)
    both = desk.product(flow.keys + flow.values - flow.heads * flow.rope, Part.VALUE)
    desk.give(latent)
    values = desk.take(flow.values)
    position = desk.take(flow.rope)
    desk.give(raw)
    repeated = desk.take(flow.heads * flow.rope)
    desk.give(position)
    keys = desk.take(flow.keys)
    desk.give(both, repeated, keys, values)
    return queries


def _is_kept(desk: Desk) -> bool:
    """Whether something reads what attention reads once more."""
    return bool(desk.flow.gate) or desk.flow.beside or desk.flow.has_streams


def _keys_and_values(desk: Desk, normed: Block) -> None:
    """Both, until they lie in the cache; a layer that reads another's cache makes none."""
    flow, step = desk.flow, desk.step
    if not flow.keys:
        return
    is_kept, keys_first = _is_kept(desk), flow.keys_first or step.is_early
    values = NOTHING if keys_first else _values(desk)
    raw = desk.product(flow.keys, Part.KEY)
    if flow.keys_are_values or not (is_kept or keys_first):
        desk.give(normed)
    keys = desk.take(flow.keys) if flow.is_turned else raw
    if flow.is_turned and not flow.keys_are_values:
        desk.give(raw)
    keys = _turned(desk, keys, flow.keys, is_rotated=step.turns_keys)
    if flow.keys_are_values:
        scaled = desk.take(flow.values)
        desk.give(raw)
        values = _turned(desk, scaled, flow.values, is_rotated=step.turns_values)
    elif keys_first:
        values = _values(desk, None if is_kept else normed)
    desk.give(keys, values)


def _gated(desk: Desk, out: Block, made: Block, normed: Block) -> Block:
    """What attention put out times its gate, which came with the queries or has a matrix of its own."""
    flow = desk.flow
    if not (flow.gated_query or flow.gate):
        return out
    if flow.gate and flow.gate != flow.out:
        desk.give(normed)
    gate = desk.product(flow.out, Part.MIXER_GATE)
    if flow.gated_query:
        desk.give(made)
    elif flow.gate == flow.out:
        desk.give(normed)
    desk.give(out)
    return gate


def latent(desk: Desk) -> Block:
    """Latent attention (MLA): queries in the latent space, one key for all heads."""
    flow, step = desk.flow, desk.step
    latent = flow.keys - flow.rope
    normed = desk.take_normed()
    low = desk.product(flow.low, Part.JOINED)
    made = desk.product(flow.queries, Part.QUERY)
    desk.give(low)
    absorbing = flow.queries - flow.heads * flow.rope
    copy = desk.borrow(Part.VALUE, share=(absorbing, absorbing + flow.out))
    desk.send(desk.late.first)
    absorbed = desk.take(flow.heads * latent)
    desk.give(copy)
    turned = desk.take(flow.heads * flow.rope)
    desk.give(made)
    queries = desk.take(flow.heads * flow.keys)
    desk.give(absorbed, turned)
    raw = desk.product(flow.keys, Part.KEY)
    desk.give(normed)
    compressed, position = desk.take(latent), desk.take(flow.rope)
    desk.give(raw)
    keys = desk.take(flow.keys)
    desk.give(compressed, position, keys)
    keys, whole = desk.send_cache()
    _cast_masks(desk)
    if step.flash_attention:
        seen = desk.take(flow.heads * latent, step.copied(flow.cache))
        desk.give(queries, keys, whole)
        desk.expire()
    else:
        cells = step.cells(flow.cache)
        values = desk.take_bytes(latent * cells * 2)
        desk.give(keys)  # copied twice: once for values that are made of it
        scores = desk.take(flow.heads * cells)
        desk.give(whole, queries)
        seen = desk.take(flow.heads * latent)
        desk.give(values, scores)
        desk.expire()
    copy = desk.borrow(Part.VALUE, share=(flow.out, absorbing + flow.out))
    values = desk.take(flow.out)
    desk.give(copy, seen)
    out = desk.take(flow.out)
    desk.give(values)
    projected = desk.product(step.hidden, Part.OUT)
    desk.give(out)
    return projected


def _values(desk: Desk, normed: Block | None = None) -> Block:
    """Values of each token; what they are made of may go then."""
    made = desk.product(desk.flow.values, Part.VALUE)
    if normed:
        desk.give(normed)
    if desk.flow.norms_values:
        scaled = desk.take(desk.flow.values)
        desk.give(made)
        made = scaled
    return _turned(desk, made, desk.flow.values, is_rotated=desk.step.turns_values)


def _attended(desk: Desk, queries: Block) -> Block:
    """What comes of queries against the cache."""
    flow, step = desk.flow, desk.step
    keys, values = desk.send_cache()
    _cast_masks(desk)
    if step.flash_attention:
        out = desk.take(flow.out, step.copied(flow.cache))
        desk.give(queries, keys, values)
        desk.expire()
        return out if flow.beside else _turned(desk, out, flow.out, is_rotated=step.turns_values)
    turned = desk.take_bytes(flow.values * step.cells(flow.cache) * 2) if step.turns_cache else NOTHING
    scores = desk.take(flow.heads * step.cells(flow.cache))
    desk.give(keys, queries)
    weighed = desk.take(flow.out)
    desk.give(values, scores, turned)
    desk.expire()
    out = desk.take(flow.out)
    desk.give(weighed)
    return out


def _turned(desk: Desk, block: Block, width: int, *, is_rotated: bool) -> Block:
    """A block turned by a Hadamard matrix into another, where the cache is quantized."""
    if not is_rotated:
        return block
    turned = desk.take(width)
    desk.give(block)
    return turned


def _cast_masks(desk: Desk) -> None:
    """Masks that arrived in 32 bits are copied into 16 by the first layer that reads them."""
    if desk.step.cast_bytes and desk.masks[1] == desk.step.cast_bytes:
        halves = desk.take_bytes(desk.step.masks_bytes)
        desk.give(desk.masks)
        desk.masks = halves


def _fed_beside(desk: Desk, normed: Block, attended: Block) -> Block:
    out = dense(desk, normed, desk.flow.dense)
    desk.give(desk.residual)
    attended = _turned(desk, attended, desk.flow.out, is_rotated=desk.step.flash_attention and desk.step.turns_values)
    projected = desk.product(desk.step.hidden, Part.OUT)
    desk.give(attended, projected)
    desk.residual = out
    return out
