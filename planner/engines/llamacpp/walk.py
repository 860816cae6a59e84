"""llama.cpp's graph of one micro-batch, layer by layer: the most that lies in its buffer at once.

Read off v0.5.0: which tensors its allocator asks the size of, and when (tests/oracle/llamacpp_kinds.py); src/llama-graph.cpp, src/models/*.cpp.
What is computed in place takes nothing. Tensors of a few values a token are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from planner.engines.llamacpp.arena import NOTHING, Arena, Block
from planner.engines.llamacpp.attending import attention, latent
from planner.engines.llamacpp.desk import NOT_LATE, NOT_LENT, Desk, Late, Lent, Step
from planner.engines.llamacpp.feeding import dense, experts
from planner.engines.llamacpp.flow import Flow, Mixer
from planner.engines.llamacpp.recurring import convolution, delta, kda, mamba2
from planner.engines.llamacpp.streams import feed_and_correct, predict, stacked
from planner.facts.attention import SlidingWindow
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most that lies at once while tokens are joined, and in feed-forward blocks."""

    mixer: int
    block: int


_TURN_BYTES = 64 * 64 * 4  # the matrix that turns values; that of keys may be larger
_DEEP_LAYERS = 3  # that an image's further features are added to (Qwen3-VL)


def peaks(flows: Sequence[Flow], step: Step, lent: Sequence[Lent] = (), *, comes_normed: bool = False) -> Peaks:
    """Both, over a model's layers; of the last only the mixer, behind which few tokens are left. `lent`: what each layer has in main memory.

    `comes_normed`: the first layer's input comes from another card, and beside it what its norm makes of it, which has no weights and so lies with that card.

    What a layer takes follows from where its input lies, so that layers alike are walked once. What arrives lies whole while any of it is read: embeddings
    that others are joined with, or whose further features the first layers add.
    """
    row = step.rows * 4
    inputs: Block = (0, step.layer_inputs * row)
    arrived: Block = (inputs[1], step.hidden * row)
    late = _late_inputs(flows, step, lent) if lent else {}
    late_masks = sum(due.cache + due.last for due in late.values())
    masks: Block = (sum(arrived), (step.cast_bytes or step.masks_bytes) - late_masks)
    beside: Block = (sum(masks), step.beside * row if not any(own.is_whole for own in lent) else 0)
    if step.deep:  # padded with zeros where there is no image
        arrived = (sum(beside), (step.hidden + step.deep) * row)
    kept_for = _DEEP_LAYERS if step.deep else 1 if step.layer_inputs else 0
    residual: Block = (arrived[0], 0) if kept_for else arrived
    normed = NOTHING
    if comes_normed and not flows[0].has_streams:
        normed, masks = (0, step.hidden * row), (step.hidden * row, masks[1])
        inputs, residual = (sum(masks), inputs[1]), (sum(masks) + inputs[1], step.hidden * row)
        beside, arrived, kept_for = (sum(residual), beside[1]), NOTHING, 0
    mixer = block = 0
    if flows[0].has_streams:
        arena = Arena((masks, inputs, beside, arrived))
        residual = stacked(step, arena)
        mixer = arena.peak
    came: tuple[Block, ...] = ()  # masks, later
    seen: dict[tuple[object, ...], tuple[int, int, Block, Block, Block, tuple[Block, ...]]] = {}
    for index, flow in enumerate(flows[:-1]):
        held = arrived if index < kept_for else NOTHING
        own, due = lent[index] if lent else NOT_LENT, late.get(index, NOT_LATE)
        key = id(flow), residual, masks, inputs, held, id(own), came, due, index == 0  # those alike are one
        if key not in seen:
            desk = Desk(step, flow, Arena((masks, inputs, beside, held, residual, *came, normed)), residual, masks, own, due)
            desk.normed, normed = normed, NOTHING
            desk.inputs, desk.arrived = inputs, arrived if index == 0 and step.layer_inputs else NOTHING
            _mix(desk)
            joined = desk.arena.peak
            _feed(desk)
            seen[key] = joined, desk.arena.peak, desk.residual, desk.masks, desk.inputs, desk.came
        joined, fed, residual, masks, inputs, more = seen[key]
        came += more
        mixer, block = max(mixer, joined), max(block, fed)
    desk = Desk(
        step, flows[-1], Arena((masks, inputs, beside, residual, *came)), residual, masks, lent[-1] if lent else NOT_LENT, late.get(len(flows) - 1, NOT_LATE)
    )
    _mix(desk)
    return Peaks(max(mixer, desk.arena.peak), block)


def _late_inputs(flows: Sequence[Flow], step: Step, lent: Sequence[Lent]) -> dict[int, Late]:
    """Inputs that are sent only when they are read first: where matrices are sent the graph is in parts, and each is sent what its part reads."""
    late: dict[int, Late] = {}
    if step.cast_bytes:
        return late
    first: dict[bool, int] = {}
    for index, flow in enumerate(flows):
        if flow.mixer in (Mixer.ATTENTION, Mixer.LATENT):
            first.setdefault(isinstance(flow.cache, SlidingWindow), index)
    turned = next((index for index, flow in enumerate(flows) if flow.mixer in (Mixer.ATTENTION, Mixer.LATENT) and flow.is_turned), -1)
    if turned >= 0 and lent[turned].is_whole and lent[turned].keys_bytes:  # positions: so few bytes, and what lies beside them is apart
        late[turned] = Late(first=step.rows * 4 + _TURN_BYTES * step.turns_keys, values=_TURN_BYTES * step.turns_values)
    for is_windowed, reader in first.items():
        size = step.window_mask_bytes if is_windowed else step.masks_bytes - step.window_mask_bytes
        if lent[reader].is_whole and lent[reader].keys_bytes:
            was = late.get(reader, NOT_LATE)
            late[reader] = replace(was, cache=was.cache + size)
        elif sends := [index for index in range(reader) if lent[index].parts]:
            was = late.get(sends[-1], NOT_LATE)
            late[sends[-1]] = replace(was, last=was.last + size)
    borrowed = sum(own.keys_bytes + own.values_bytes for own in lent if not own.is_whole)
    if (step.beside or borrowed) and (sends := [index for index, own in enumerate(lent) if own.is_whole]):  # those in main memory need no copy of places
        was = late.get(sends[-1], NOT_LATE)
        late[sends[-1]] = replace(was, others=step.beside * step.rows * 4 + borrowed)
    return late


def _mix(desk: Desk) -> None:
    """What joins the tokens, added to the hidden states."""
    if desk.flow.has_streams:
        predict(desk)
        desk.joined = attention(desk)
        return
    match desk.flow.mixer:
        case Mixer.ATTENTION:
            out = attention(desk)
        case Mixer.LATENT:
            out = latent(desk)
        case Mixer.DELTA:
            out = delta(desk)
        case Mixer.KDA:
            out = kda(desk)
        case Mixer.MAMBA2:
            out = mamba2(desk)
        case Mixer.SHORT_CONVOLUTION:
            out = convolution(desk)
        case Mixer.NONE:
            return
        case other:
            assert_never(other)
    if not desk.flow.beside:
        _add(desk, out, is_mixer=True)


def _feed(desk: Desk) -> None:
    """The feed-forward block, added to them."""
    flow = desk.flow
    if flow.has_streams:
        feed_and_correct(desk, desk.joined)
        return
    if not flow.beside and (flow.dense or flow.experts):
        normed = desk.take(desk.step.hidden)
        out = experts(desk, normed) if flow.experts else dense(desk, normed, flow.dense)
        if desk.lent.is_whole and flow.ends_small:
            desk.send_rest()
        _add(desk, out)
    desk.join_inputs()


def _add(desk: Desk, out: Block, *, is_mixer: bool = False) -> None:
    """The sum lies in the place of one of both."""
    if desk.flow.keeps_residual or (is_mixer and desk.flow.mixer is Mixer.DELTA):
        desk.give(out)
    else:
        desk.give(desk.residual)
        desk.residual = out
