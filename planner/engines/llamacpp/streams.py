"""Gemma 3n's streams of hidden states: one goes through a layer, the others are predicted before it and corrected behind it.

Source: llama.cpp src/models/gemma3n.cpp (v0.5.0), whose number of streams is fixed.
"""

from __future__ import annotations

from planner.engines.llamacpp.arena import Arena, Block
from planner.engines.llamacpp.desk import Desk, Step
from planner.engines.llamacpp.layers import Part

STREAMS = 4


def stacked(step: Step, arena: Arena) -> Block:
    """All streams, made of the embeddings, which stay where they are."""
    row = step.hidden * step.rows * 4
    repeated, projected = arena.take((STREAMS - 1) * row), arena.take((STREAMS - 1) * row)
    arena.give(repeated)
    squares, magnitude = arena.take(row), arena.take(step.rows * 4)  # so little, and still no stream fits where it lies
    arena.give(squares)
    scaled = arena.take((STREAMS - 1) * row)
    arena.give(magnitude, projected)
    streams = arena.take(STREAMS * row)
    arena.give(scaled)
    return streams


def predict(desk: Desk) -> None:
    """What a layer will make of each stream, in the place of what arrived."""
    wide, hidden = STREAMS * desk.step.hidden, desk.step.hidden
    turned = desk.take(wide)
    desk.give(desk.take(hidden))
    coefficients = desk.take(STREAMS**2)
    mixed = desk.take(wide)
    desk.give(turned, coefficients)
    predicted = desk.take(wide)
    desk.give(mixed, desk.residual)
    desk.residual = predicted


def feed_and_correct(desk: Desk, joined: Block) -> None:
    """The feed-forward block of the one stream, and all of them by what came of it. `joined`: what attention put out."""
    hidden, width, wide = desk.step.hidden, desk.flow.dense, STREAMS * desk.step.hidden
    normed = desk.take(hidden)
    up, gate = desk.product(width, Part.UP), desk.product(width, Part.GATE)
    desk.give(normed)
    desk.give(desk.take(width))  # the gate's largest values, in the layers where few are kept
    desk.give(gate)
    out = desk.product(hidden, Part.DOWN)
    desk.give(up, joined)
    missed = desk.take(hidden)
    corrected = desk.take(wide)
    desk.give(missed, out, desk.residual)
    scaled = desk.take(hidden)
    gated = desk.take(desk.step.inputs_a_layer)
    desk.give(scaled)
    desk.join_inputs()
    own = desk.take(hidden)
    desk.give(gated)
    others = desk.take(wide - hidden)
    desk.give(own)
    desk.residual = desk.take(wide)
    desk.give(corrected, others)
