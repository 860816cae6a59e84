"""llama.cpp's own fit: what it leaves where when a model as asked does not fit what is free.

Source: llama.cpp common/fit.cpp common_params_fit_impl (since b7500; read @08033df0). It measures by loading without memory, and interpolates; a
GPU's use only grows with its layers, so that what it ends with is the most that fits, which is looked for here. Counts are its own:
of the last GPU's layers one is taken for the output, though the layers with a part elsewhere are counted from the back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.engines.llamacpp.layers import EXPERTS, MAIN_MEMORY, Overflow, Part, Placement
from planner.engines.llamacpp.ledger import ledger_of
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.model import GgufModel
from planner.engines.llamacpp.placement import divided_over, held
from planner.facts.record import dataclass
from planner.units import largest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """The layers of one GPU; the last `divided` of them have parts elsewhere: the first of those as `overflow` says, at `to`, the others their experts."""

    layers: int = 0
    divided: int = 0
    overflow: Overflow = Overflow.EXPERTS
    to: int = MAIN_MEMORY

    @property
    def full(self) -> int:
        return self.layers - self.divided


_Shares = tuple[_Share, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """What is free of each GPU, and what the fit leaves free there (--fit-target)."""

    free_bytes: tuple[int, ...]
    margin_bytes: tuple[int, ...]

    @property
    def targets(self) -> tuple[int, ...]:
        """What may be used of each."""
        return tuple(free - margin for free, margin in zip(self.free_bytes, self.margin_bytes, strict=True))

    def takes(self, used: Sequence[int]) -> bool:
        """Whether every GPU keeps its margin."""
        return all(size <= target for size, target in zip(used, self.targets, strict=True))


def fits_whole(model: GgufModel, config: LlamaCppConfig, room: Room) -> bool:
    """Whether the fit leaves a configuration as it is."""
    return room.takes([gpu.total_bytes for gpu in ledger_of(model, config, room.free_bytes).gpus])


def fitted_context(model: GgufModel, config: LlamaCppConfig, room: Room, least: int) -> int:
    """The context that the fit sets where none was said, between the least and the model's own: by a line through the use at both (step 2)."""
    most = config.context
    if most <= least or fits_whole(model, config, room):
        return most
    target = sum(room.targets)
    if len(room.free_bytes) > 1:
        weights = sum(gpu.weights_bytes for gpu in ledger_of(model, config, room.free_bytes).gpus)
        target -= (len(room.free_bytes) + 1) * (weights // model.layer_count) // (6 if model.has_experts else 2)
    longest, shortest = (sum(gpu.total_bytes for gpu in ledger_of(model, replace(config, context=size), room.free_bytes).gpus) for size in (most, least))
    if longest <= target:
        return most
    if target <= shortest or longest <= shortest:
        return least
    context = least + (most - least) * (target - shortest) // (longest - shortest)
    return max(context - context % 256, least)


def fitted(model: GgufModel, config: LlamaCppConfig, room: Room) -> Placement:
    """Where the fit puts the layers of what does not fit whole: dense parts first, from the back, then experts from the front (steps 3 and 4)."""
    fit = _Fit(model, config, room)
    shares = fit.filled()
    if model.has_experts and fit.has_surplus():
        shares = fit.with_experts(shares)
    return fit.placement(shares)


class _Fit:
    """One run of it: what it would measure is computed."""

    def __init__(self, model: GgufModel, config: LlamaCppConfig, room: Room) -> None:
        self.model, self.config, self.room = model, config, room
        self.count, self.gpus = model.layer_count + 1, len(room.free_bytes)

    def used(self, where: Placement) -> list[int]:
        """Bytes of each GPU."""
        return [gpu.total_bytes for gpu in held(self.model, self.config, where, self.gpus)[0]]

    def fits(self, shares: _Shares, gpu: int) -> bool:
        """Whether a GPU keeps its margin."""
        return self.used(self.placement(shares))[gpu] <= self.room.targets[gpu]

    def placement(self, shares: _Shares) -> Placement:
        """What shares come to (set_ngl_tensor_split_tbo)."""
        gpus = [gpu for gpu, share in enumerate(shares) for _ in range(share.layers)]
        first = layer = self.count - len(gpus)
        moved: list[tuple[Part, ...]] = [()] * self.count
        moved_to = [MAIN_MEMORY] * self.count
        for share in shares:
            layer += share.full
            for index in range(layer, layer + share.divided):
                is_first = index == layer
                moved[index] = share.overflow.parts if is_first else EXPERTS
                moved_to[index] = share.to if is_first else MAIN_MEMORY
            layer += share.divided
        moved[-1] = ()  # the output has no such tensor
        return Placement(gpus=(MAIN_MEMORY,) * first + tuple(gpus), moved=tuple(moved), moved_to=tuple(moved_to))

    def has_surplus(self) -> bool:
        """Whether the GPUs together hold all but the experts."""
        gpus = divided_over(self.count, self.count, tuple(self.config.tensor_split or self.room.free_bytes))
        where = Placement(gpus=gpus, moved=(EXPERTS,) * (self.count - 1) + ((),), moved_to=(MAIN_MEMORY,) * self.count)
        return sum(self.used(where)) < sum(self.room.targets)

    def filled(self) -> _Shares:
        """Layers without their experts, from the back: each GPU as many as it holds, the last with the output."""
        shares: _Shares = (_Share(),) * self.gpus
        for gpu in reversed(range(self.gpus)):
            shares = self._filled(shares, gpu)
        return shares

    def _filled(self, shares: _Shares, gpu: int) -> _Shares:
        left = self.count - sum(share.layers for share in shares)
        return self._dense(shares, gpu, largest(left, lambda layers: self.fits(self._dense(shares, gpu, layers), gpu)))

    def _dense(self, shares: _Shares, gpu: int, layers: int) -> _Shares:
        divided = (layers if gpu < self.gpus - 1 else max(0, layers - 1)) if self.model.has_experts else 0
        return _with(shares, gpu, _Share(layers=layers, divided=divided))

    def with_experts(self, shares: _Shares) -> _Shares:
        """Layers made whole from the front, GPU by GPU, and of one more layer what is left for."""
        start = next((gpu for gpu, share in enumerate(shares) if share.layers), self.gpus)
        for gpu in range(self.gpus):
            if gpu > start or start == self.gpus:
                break
            shares = self._whole(shares, gpu, start)
            start = _first_open(shares, start)
            shares, start = self._one_more(shares, gpu, start)
        return shares

    def _whole(self, shares: _Shares, gpu: int, start: int) -> _Shares:
        divided = sum(share.divided for share in shares[start:])
        return _made_whole(shares, gpu, start, largest(divided, lambda count: self.fits(_made_whole(shares, gpu, start, count), gpu)))

    def _one_more(self, shares: _Shares, gpu: int, start: int) -> tuple[_Shares, int]:
        """A part of one more layer: all but gate and down, then all but down; else all but the feed-forward block."""
        if not shares[start].divided or shares[start].layers <= (gpu == self.gpus - 1):
            return shares, start
        for overflow, then in ((Overflow.GATE_AND_DOWN, Overflow.DOWN), (Overflow.FEED_FORWARD, None)):
            tried = self._with_part(shares, gpu, start, overflow)
            if self._holds(tried, gpu):
                if then and self._holds(further := self._with_part(shares, gpu, start, then), gpu):
                    tried = further
                return tried, _first_open(tried, start)
        return shares, start

    def _with_part(self, shares: _Shares, gpu: int, start: int, overflow: Overflow) -> _Shares:
        giver = shares[start]
        shares = _with(shares, start, replace(giver, layers=giver.layers - 1, divided=giver.divided - 1))
        taker = shares[gpu]
        to = gpu + 1 if gpu < self.gpus - 1 else MAIN_MEMORY
        return _with(shares, gpu, replace(taker, layers=taker.layers + 1, divided=taker.divided + 1, overflow=overflow, to=to))

    def _holds(self, shares: _Shares, gpu: int) -> bool:
        """Whether a GPU and the next, to which the part goes, have more than their margins left."""
        used = self.used(self.placement(shares))
        return all(used[index] < self.room.targets[index] for index in range(gpu, min(gpu + 2, self.gpus)))


def _with(shares: _Shares, gpu: int, share: _Share) -> _Shares:
    return (*shares[:gpu], share, *shares[gpu + 1 :])


def _first_open(shares: _Shares, start: int) -> int:
    """The first GPU from `start` on that has divided layers, or the last."""
    return next((gpu for gpu in range(start, len(shares)) if shares[gpu].divided), len(shares) - 1)


def _made_whole(shares: _Shares, gpu: int, start: int, count: int) -> _Shares:
    """So many layers without experts, from GPU `start` on, as whole layers of a GPU."""
    left = count
    for giver in range(start, len(shares)):
        taken = min(left, shares[giver].divided)
        shares = _with(shares, giver, replace(shares[giver], layers=shares[giver].layers - taken, divided=shares[giver].divided - taken))
        left -= taken
    return _with(shares, gpu, replace(shares[gpu], layers=shares[gpu].layers + count))
