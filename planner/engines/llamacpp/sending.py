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
_TURN_BYTES = 64 * 64 * 4  # the matrix that turns values


@dataclass(frozen=True, slots=True)
class Own:
    """The layers that a device computes, of a batch. `is_further`: their input comes from another card; `elsewhere`: layers whose experts another one computes.

    `caches`: of layers that read another's cache which lies elsewhere, bytes of its keys and values. `copies`: how many of each input lie there for the
    whole step, where steps overlap. `is_head`: layers that predict, which join words with hidden states.
    """

    layers: tuple[int, ...]
    is_further: bool = False
    elsewhere: frozenset[int] = frozenset()
    caches: tuple[tuple[int, int, int], ...] = ()
    copies: int = 1
    is_head: bool = False


def sends(flows: Sequence[Flow], step: Step, lent: Sequence[Lent], own: Own) -> tuple[tuple[Read, ...], Mapping[int, Late]]:
    """What is there when the first layer begins, in order, and what comes late, by the layer that it comes with."""
    late: dict[int, Late] = {}
    start: list[Read] = []
    if not step.cast_bytes and lent:
        late = _with_first_layers(flows, step, lent, own)
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


def _last_readers(flows: Sequence[Flow], own: Own) -> dict[bool | None, int]:
    """The last layer with a window, and without one; of any kind the last that turns by positions."""
    last: dict[bool | None, int] = {None: -1}
    for layer in own.layers:
        flow = flows[layer]
        if flow.mixer in (Mixer.ATTENTION, Mixer.LATENT):
            last[isinstance(flow.cache, SlidingWindow)] = layer
            if flow.is_turned:
                last[None] = layer
    return last


def _with_first_layers(flows: Sequence[Flow], step: Step, lent: Sequence[Lent], own: Own) -> dict[int, Late]:
    """Positions, factors, and the matrices that turn what goes into a quantized cache, of which windows have their own: with the first layer in main memory that reads them."""
    late: dict[int, Late] = {}
    positions, factors, kinds = step.positions * step.rows * 4, True, set[bool]()
    for layer in own.layers:
        flow = flows[layer]
        if flow.mixer not in (Mixer.ATTENTION, Mixer.LATENT):
            continue
        is_windowed, is_lent = isinstance(flow.cache, SlidingWindow), lent[layer].is_whole and lent[layer].keys_bytes > 0
        keys, values = (0, 0) if is_windowed in kinds else _turning(flow, step)
        kinds.add(is_windowed)
        table = 2 * flow.queries // flow.heads if flow.has_factors and factors else 0
        was_first = positions if flow.is_turned else 0
        if is_lent and (was_first or keys or values or table):
            late[layer] = Late(first=was_first and was_first + keys, factors=table + (0 if was_first else keys), values=values)
        positions = 0 if flow.is_turned else positions
        factors = factors and not flow.has_factors
    return late


def _turning(flow: Flow, step: Step) -> tuple[int, int]:
    """Bytes of the matrices that turn keys and values: as wide as the largest power of two that divides a head (src/llama-kv-cache.cpp)."""
    head = getattr(flow.cache, "head_dim", 0)
    return (head & -head) ** 2 * 4 * step.turns_keys, _TURN_BYTES * step.turns_values


def _reads(flows: Sequence[Flow], step: Step, lent: Sequence[Lent], own: Own) -> Iterator[Read]:
    """What layers are the first to read, in order. Caches in main memory go with their layers, and need no copy of the places of values."""
    sizes = {True: step.window_mask_bytes, False: step.masks_bytes - step.window_mask_bytes}
    last = _last_readers(flows, own)
    wide = [Read(own.layers[0], Sent.MASK, step.cast_bytes, max((layer for kind, layer in last.items() if kind is not None), default=-1))]
    if step.cast_bytes:
        sizes = {}
        if not step.is_early and any(flow.mixer not in (Mixer.ATTENTION, Mixer.LATENT) for flow in flows):
            yield wide.pop()
    caches = {layer: (keys, values) for layer, keys, values in own.caches}
    positions, places, seen = step.positions * step.rows * 4, dict(enumerate(step.places)), set[bool]()
    for layer in own.layers:
        flow = flows[layer]
        if flow.mixer in (Mixer.ATTENTION, Mixer.LATENT):
            is_windowed, is_lent = isinstance(flow.cache, SlidingWindow), bool(lent) and lent[layer].is_whole
            turns, turns_back = (0, 0) if is_windowed in seen or is_lent else _turning(flow, step)
            seen.add(is_windowed)
            placed = [_PLACE_BYTES, places.pop(is_windowed, 0)] if flow.keys and not is_lent and is_windowed in places else []
            early = [turns, *([turns_back] if flow.keys else []), *(size * step.rows for size in placed)]
            yield from (Read(layer, Sent.PLACES, size, last[None]) for size in (0 if is_lent or not flow.is_turned else positions,) if size)
            yield from (Read(layer, Sent.PLACES, size, last[is_windowed]) for size in early if size)
            positions = 0 if flow.is_turned else positions
            if step.cast_bytes and wide:
                yield wide.pop()
            keys, values = caches.get(layer, (0, 0))
            mask = Read(layer, Sent.MASK, sizes.pop(is_windowed, 0), last[is_windowed])
            both = Read(layer, Sent.KEYS, keys), Read(layer, Sent.VALUES, values)
            order = (*both, mask) if step.flash_attention or flow.mixer is Mixer.LATENT else (both[0], mask, both[1])
            yield from (read for read in (*order, Read(layer, Sent.PLACES, 0 if flow.keys else turns_back, last[is_windowed])) if read.bytes)
        if own.is_further and step.inputs_a_layer:
            yield Read(layer, Sent.SLICE, step.inputs_a_layer * step.rows * 4)
    if step.picks and not own.is_head and own.layers[-1] == len(flows) - 1:
        yield Read(own.layers[-1], Sent.PICKS, 4 * step.rows, own.layers[-1])
