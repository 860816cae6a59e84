"""What a tower beside a text model is, and who builds one."""

from __future__ import annotations

from collections.abc import Callable

from planner.architecture.blocks import Scope
from planner.architecture.config import Config
from planner.architecture.text import Dims
from planner.facts.model import VisionSpec
from planner.facts.modules import Module, Tensor
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True)
class Tower:
    """A tower's parameters and buffers, and what its profiling batch needs to know."""

    modules: tuple[Module, ...]
    spec: VisionSpec
    buffers: tuple[Tensor, ...] = ()


TowerBuilder = Callable[[Scope, Config, Dims], Tower]
