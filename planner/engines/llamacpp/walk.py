"""llama.cpp's graph of one micro-batch, layer by layer: the most that lies in its buffer at once.

Read off v0.5.0: which tensors its allocator asks the size of, and when (tests/oracle/llamacpp_kinds.py); src/llama-graph.cpp, src/models/*.cpp.
What is computed in place takes nothing. Tensors of a few values a token are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from planner.engines.llamacpp.arena import NOTHING, Arena, Block
from planner.engines.llamacpp.attending import attention, latent
from planner.engines.llamacpp.desk import NOT_LATE, NOT_LENT, Came, Desk, Lent, Read, Sent, Step
from planner.engines.llamacpp.feeding import dense, experts
from planner.engines.llamacpp.flow import Flow, Mixer
from planner.engines.llamacpp.layers import Part
from planner.engines.llamacpp.recurring import convolution, delta, kda, mamba2
from planner.engines.llamacpp.sending import Own, sends
from planner.engines.llamacpp.streams import feed_and_correct, predict, stacked
from planner.facts.record import dataclass
from planner.units import round_up


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most that lies at once while tokens are joined, and in feed-forward blocks; `kept` of it for the whole step."""

    mixer: int
    block: int
    kept: int = 0


_DEEP_LAYERS = 3  # that an image's further features are added to (Qwen3-VL)
_ALIGNED_TO = 128


@dataclass(frozen=True, slots=True)
class _Start:
    """What lies in the buffer when the first layer begins."""

    residual: Block
    came: tuple[Came, ...]
    normed: Block = NOTHING
    inputs: Block = NOTHING
    arrived: Block = NOTHING
    kept_for: int = 0


def peaks(flows: Sequence[Flow], step: Step, lent: Sequence[Lent] = (), own: Own | None = None) -> Peaks:
    """Both, over the layers that a device computes (`own`; without, all); of a model's last only the mixer, behind which few tokens are left.

    `lent`: what each layer has in main memory. What a layer takes follows from where its input lies, so that layers alike are walked once.
    """
    own = own or Own(tuple(range(len(flows))))
    if not own.layers:  # the output alone
        return Peaks(0, 0)
    sent, late = sends(flows, step, lent, own)
    is_further = own.is_further and not flows[0].has_streams
    kept = _kept(step, sent, own) if own.copies > 1 else 0
    if own.is_head:
        start = _joined(step, sent)
    elif is_further:
        start = _Start(NOTHING, ()) if kept else _further(step, sent, own.layers[0])
    else:
        start = _first(step, () if kept else sent, is_made=not kept or step.layer_inputs > 0)
    residual, came, inputs, normed, arrived = start.residual, start.came, start.inputs, start.normed, start.arrived
    mixer = block = 0
    if flows[0].has_streams:
        arena = Arena((inputs, arrived, *(at for _, at in came)))
        residual = stacked(step, arena)
        mixer = arena.peak
    seen: dict[tuple[object, ...], tuple[int, int, Block, Block, tuple[Came, ...]]] = {}
    for place, index in enumerate(own.layers):
        flow, held = flows[index], arrived if place < start.kept_for else NOTHING
        lends, due = lent[index] if lent else NOT_LENT, late.get(index, NOT_LATE)
        is_last = index == len(flows) - 1
        waiting = tuple((read, at) for read, at in came if read.is_last(index))
        lies = tuple((id(read), at) for read, at in came)  # what they are takes longer to compare than to walk a layer
        key = (
            id(flow),
            residual,
            lies,
            tuple(at for _, at in waiting),
            inputs,
            held,
            id(lends),
            id(due),
            place == 0,
            index in own.elsewhere,
            is_last,
        )  # those alike are one
        if key not in seen:
            masks = next((at for read, at in came if step.cast_bytes and read.what is Sent.MASK), NOTHING)
            arena = Arena((inputs, held, residual, normed, *(at for _, at in came)))
            desk = Desk(step, flow, arena, residual, masks, lends, due, waiting=waiting, is_elsewhere=index in own.elsewhere)
            desk.normed, normed = normed, NOTHING
            desk.inputs, desk.arrived, desk.joins = inputs, arrived if step.layer_inputs else NOTHING, place == 0 and not own.is_further
            picks = is_last and not own.is_head and step.picks
            _mix(desk, picks=picks)
            joined = arena.peak
            is_fed = not is_last or own.is_head or picks
            if is_fed:
                _feed(desk)
            if picks:
                _put_out(desk)
            stays = tuple((read, desk.masks if at == masks and masks[1] else at) for read, at in came if not read.is_last(index))
            seen[key] = joined, arena.peak if is_fed else 0, desk.residual, desk.inputs, stays + desk.came
        joined, fed, residual, inputs, came = seen[key]
        mixer, block = max(mixer, joined), max(block, fed)
    return Peaks(kept + mixer, kept + block, kept)


def _kept(step: Step, sent: Sequence[Read], own: Own) -> int:
    """Copies of all that a device of a pipeline is sent: they count as inputs, which stay and in whose place nothing is computed."""
    row = step.rows * 4
    hidden = [step.hidden, step.hidden] if own.is_further else [step.hidden + step.deep, step.layer_inputs]
    sizes = [*(read.bytes for read in sent), *(width * row for width in hidden)]
    return own.copies * sum(round_up(size, _ALIGNED_TO) for size in sizes) + (step.masks_bytes if step.cast_bytes else 0)


def _laid(sizes: Sequence[int], at: int = 0) -> list[Block]:
    """Blocks next to each other."""
    blocks = []
    for size in sizes:
        whole = round_up(size, _ALIGNED_TO)
        blocks.append((at, whole))
        at += whole
    return blocks


def _first(step: Step, sent: Sequence[Read], *, is_made: bool) -> _Start:
    """Embeddings arrive, or are scaled in a place of their own (`is_made`).

    They lie whole while any of them is read: where others are joined with them, or the first layers add their further features.
    """
    if not is_made:
        return _Start(NOTHING, ())
    row = step.rows * 4
    inputs, arrived, *blocks = _laid([step.layer_inputs * row, step.hidden * row, *(read.bytes for read in sent)])
    came = tuple(zip(sent, blocks, strict=True))
    if step.deep:  # padded with zeros where there is no image
        return _Start((arrived[0], 0), came, NOTHING, inputs, _laid([(step.hidden + step.deep) * row], sum((arrived, *blocks)[-1]))[0], _DEEP_LAYERS)
    if step.layer_inputs:
        return _Start((arrived[0], 0), came, NOTHING, inputs, arrived, 1)
    return _Start(arrived, came, NOTHING, inputs)


def _joined(step: Step, sent: Sequence[Read]) -> _Start:
    """Words and hidden states arrive, behind all else the numbers of tokens to predict for; what a matrix makes of both lies where the words lay."""
    row = step.hidden * step.rows * 4
    reads = (*sent, Read(-1, Sent.PLACES, _ALIGNED_TO))
    made, _, *blocks = _laid([row, row, *(read.bytes for read in reads)])
    return _Start(made, tuple(zip(reads, blocks, strict=True)))


def _further(step: Step, sent: Sequence[Read], first: int) -> _Start:
    """Hidden states arrive of another card, and before them what the first layer's norm makes of them, which has no weights and so lies with that card."""
    row = step.rows * 4
    before = [read for read in sent if read.layer == first and read.what is not Sent.SLICE]
    after = [read for read in sent if read not in before]
    blocks = _laid([step.hidden * row, *(read.bytes for read in before), step.hidden * row, *(read.bytes for read in after)])
    residual = blocks.pop(1 + len(before))
    return _Start(residual, tuple(zip((*before, *after), blocks[1:], strict=True)), normed=blocks[0])


def _mix(desk: Desk, *, picks: bool = False) -> None:
    """What joins the tokens, added to the hidden states; `picks`: of both those are copied first whose logits are wanted, which are all."""
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
    if picks:
        out, desk.residual = _copied(desk, out), _copied(desk, desk.residual)
        desk.give(desk.came_as(Sent.PICKS))
    if not desk.flow.beside:
        _add(desk, out, is_mixer=True)


def _copied(desk: Desk, block: Block) -> Block:
    copy = desk.take(desk.step.hidden)
    desk.give(block)
    return copy


def _put_out(desk: Desk) -> None:
    """Logits of the last norm, which lies in the place of what it reads."""
    desk.give(desk.take_bytes(desk.step.logits_bytes), desk.residual)


def _feed(desk: Desk) -> None:
    """The feed-forward block, added to them."""
    flow = desk.flow
    if flow.has_streams:
        feed_and_correct(desk, desk.joined)
        return
    if not flow.beside and (flow.dense or flow.experts):
        normed = desk.take(desk.step.hidden)
        out = experts(desk, normed) if flow.experts else dense(desk, normed, flow.dense)
        if desk.lent.is_whole and flow.ends_small and not (flow.gates_shared or desk.step.inputs_a_layer):
            desk.send_rest()
        _add(desk, out)
    if not desk.step.inputs_a_layer:
        return
    gate = desk.product(desk.step.inputs_a_layer, Part.LAYER_INPUT)
    desk.join_inputs()
    desk.give(desk.came_as(Sent.SLICE))
    added = desk.product(desk.step.hidden, Part.LAYER_OUTPUT)
    desk.give(gate, added)
    if desk.lent.is_whole:  # a factor stands behind all
        desk.send_rest()


def _add(desk: Desk, out: Block, *, is_mixer: bool = False) -> None:
    """The sum lies in the place of one of both."""
    keeps = desk.flow.mixer is Mixer.DELTA if is_mixer else desk.flow.keeps_behind
    if desk.residual[1] and (desk.flow.keeps_residual or keeps):
        desk.give(out)
    else:
        desk.give(desk.residual)
        desk.residual = out
