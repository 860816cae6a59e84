"""What a tower beside a text model is, and who builds one."""

from __future__ import annotations

from collections.abc import Callable

from planner.architecture.blocks import Scope
from planner.architecture.config import Config
from planner.architecture.text import Dims
from planner.facts.model import LayerGroup, VisionSpec
from planner.facts.modules import Module, Tensor
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True)
class Tower:
    """A tower's parameters and buffers, and what its profiling batch needs to know."""

    modules: tuple[Module, ...]
    spec: VisionSpec
    buffers: tuple[Tensor, ...] = ()
    every: tuple[Module, ...] = ()  # what of a projector its class builds on every stage
    shared_out: LayerGroup | None = None  # those of its layers that stages share out; the first stage's are all that it runs
    on_every_stage: bool = False  # its class builds all of it on every stage


TowerBuilder = Callable[[Scope, Config, Dims], Tower]


def unquantized(builder: TowerBuilder) -> TowerBuilder:
    """The same tower, whose class is told nothing of a quantization."""
    return lambda scope, top, dims: builder(scope.plain(), top, dims)


def together(*builders: TowerBuilder) -> TowerBuilder:
    """Several towers of one model; the first one's profiling batch stands for all."""

    def build(scope: Scope, top: Config, dims: Dims) -> Tower:
        towers = [builder(scope, top, dims) for builder in builders]
        return Tower(tuple(m for tower in towers for m in tower.modules), towers[0].spec, tuple(b for tower in towers for b in tower.buffers))

    return build
