"""What of a batch is sent to a device beside hidden states, and when.

A graph is cut wherever it changes the device, and wherever a matrix in main memory is read; each piece is sent, all at once and before it starts, what it
reads of others and was not there before. Source: llama.cpp ggml/src/ggml-backend.cpp ggml_backend_sched_split_graph (v0.5.0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from planner.engines.llamacpp.desk import NOT_LATE, Late, Lent, Read, Sent, Step
from planner.engines.llamacpp.flow import Flow, Mixer
from planner.facts.attention import SlidingWindow
from planner.facts.record import dataclass

_PLACE_BYTES = 8
_TURN_BYTES = 64 * 64 * 4  # the matrix that turns values; that of keys may be larger


@dataclass(frozen=True, slots=True)
class Own:
    """The layers that a device computes, of a batch. `is_further`: their input comes from another card; `elsewhere`: layers whose experts another one computes.

    `caches`: of layers that read another's cache which lies elsewhere, bytes of its keys and values.
    """

    layers: tuple[int, ...]
    is_further: bool = False
    elsewhere: frozenset[int] = frozenset()
    caches: tuple[tuple[int, int, int], ...] = ()


def sends(flows: Sequence[Flow], step: Step, lent: Sequence[Lent], own: Own) -> tuple[tuple[Read, ...], Mapping[int, Late]]:
    """What is there when the first layer begins, in order, and what comes late, by the layer that it comes with."""
    late: dict[int, Late] = {}
    start: list[Read] = []
    if not step.cast_bytes and lent:
        turned = next((index for index in own.layers if flows[index].mixer in (Mixer.ATTENTION, Mixer.LATENT) and flows[index].is_turned), -1)
        if turned >= 0 and lent[turned].is_whole and lent[turned].keys_bytes:  # positions: so few bytes, and what lies beside them is apart
            late[turned] = Late(first=step.positions * step.rows * 4 + _TURN_BYTES * step.turns_keys, values=_TURN_BYTES * step.turns_values)
        factors = next((index for index in own.layers if flows[index].has_factors and lent[index].is_whole and lent[index].keys_bytes), -1)
        if factors >= 0:
            late[factors] = replace(late.get(factors, NOT_LATE), factors=2 * flows[factors].queries // flows[factors].heads)
    cuts = [layer for layer in own.layers if layer in own.elsewhere or (lent and lent[layer].parts)] if not step.cast_bytes else []
    for read in _reads(flows, step, lent, own):
        if lent and lent[read.layer].is_whole and lent[read.layer].keys_bytes and not step.cast_bytes:
            was = late.get(read.layer, NOT_LATE)
            late[read.layer] = replace(was, cache=was.cache + read.bytes)
        elif before := [layer for layer in cuts if layer < read.layer]:
            was = late.get(before[-1], NOT_LATE)
            late[before[-1]] = replace(was, rest=(*was.rest, read))
        else:
            start.append(read)
    return tuple(start), late


def _reads(flows: Sequence[Flow], step: Step, lent: Sequence[Lent], own: Own) -> Iterator[Read]:
    """What layers are the first to read, in order. Caches in main memory go with their layers, and need no copy of the places of values."""
    sizes = {True: step.window_mask_bytes, False: step.masks_bytes - step.window_mask_bytes}
    if step.cast_bytes:
        sizes = {}
        yield Read(own.layers[0], Sent.MASK, step.cast_bytes)
    caches = {layer: (keys, values) for layer, keys, values in own.caches}
    positions, places = step.positions * step.rows * 4, dict(enumerate(step.places))
    for layer in own.layers:
        flow = flows[layer]
        if flow.mixer in (Mixer.ATTENTION, Mixer.LATENT):
            is_windowed, is_lent = isinstance(flow.cache, SlidingWindow), bool(lent) and lent[layer].is_whole
            if flow.is_turned and positions:
                if not is_lent:
                    yield Read(layer, Sent.PLACES, positions)
                positions = 0
            if flow.keys and not is_lent and (size := places.pop(is_windowed, None)) is not None:
                yield Read(layer, Sent.PLACES, _PLACE_BYTES * step.rows)
                if size:
                    yield Read(layer, Sent.PLACES, size * step.rows)
            keys, values = caches.get(layer, (0, 0))
            mask = Read(layer, Sent.MASK, sizes.pop(is_windowed, 0))
            both = Read(layer, Sent.KEYS, keys), Read(layer, Sent.VALUES, values)
            order = (*both, mask) if step.flash_attention or flow.mixer is Mixer.LATENT else (both[0], mask, both[1])
            yield from (read for read in order if read.bytes)
        if own.is_further and step.inputs_a_layer:
            yield Read(layer, Sent.SLICE, step.inputs_a_layer * step.rows * 4)
