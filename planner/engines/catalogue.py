"""What an engine asks of the catalogue, and what it is given: models as their files describe them, never a name to guess from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from planner.engines.alternatives import NO_MARKET, Market
from planner.facts.deployment import Sampling
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass
from planner.facts.variant import Variant

if TYPE_CHECKING:
    from planner.engines.llamacpp.header import Header
    from planner.facts.hardware import GpuSpec


@dataclass(frozen=True, slots=True)
class Source:
    """A model ready to plan: what vLLM is told to load, a short name, and sibling variants to fall back to."""

    repo: str
    served_name: str
    spec: ModelSpec
    config: Mapping[str, object] = field(default_factory=dict)  # the whole config.json, for who asks vLLM itself
    hf_quant: Mapping[str, object] | None = None
    market: Market = NO_MARKET
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class Plain:
    """A model as its makers published it, in 16 bits: what other runtimes quantize.

    `variants` are what the catalogue knows of it for any runtime, the one that was asked for first.
    """

    name: str
    spec: ModelSpec
    repo: str
    variants: tuple[Variant, ...] = ()
    text_architecture: str = ""  # the class of the text alone, where a config.json says it inside
    sampling: Sampling = field(default_factory=Sampling)
    mlx_quantization: Mapping[str, object] = field(default_factory=dict)  # what mlx_lm.convert wrote into a folder's config.json
    foreign_quantization: Mapping[str, object] = field(default_factory=dict)  # what another engine's quantizer wrote there
    released: str = ""  # the month, where the catalogue knows it

    def variant(self, runtime: str, form: str | None = None) -> Variant | None:
        """The repository or tag that the catalogue names for a runtime (and a format); the asked one first."""
        return next(
            (
                form_variant
                for form_variant in self.variants
                if form_variant.runtime == runtime and (form is None or form_key(form_variant.format) == form_key(form))
            ),
            None,
        )


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """A model's checkpoints by the class of their weights (16, 8, 4 bits), least quantized first; `is_open` where a smaller class may be made of it."""

    name: str
    architecture: str
    by_bits: Mapping[int, tuple[str, ...]]
    is_open: bool


class Catalogue(Protocol):
    """Where an engine finds the models, files and cards that a question or a command names. All raise PlannerError for what is not there."""

    def check_name(self, name: str) -> None:
        """Refuse what can be no name of a model or file."""

    def find_source(self, name: str, online: str | None = None) -> Source:
        """A model as a checkpoint stores it, to be quantized while loading where `online` names a method."""

    def find_plain(self, name: str) -> Plain:
        """A model for an engine that quantizes it in its own way."""

    def read_gguf(self, path: Path) -> Header:
        """The header of a GGUF file, of all its parts."""

    def cards_of_the_price(self, gpu: GpuSpec) -> Sequence[GpuSpec]:
        """Cards that cost about as much, the cheapest first."""


def form_key(form: str | None) -> str:
    """The name of a format as it is compared: mlx-8bit and 8bit are one."""
    return plain_form(form or "").lower()


def plain_form(form: str) -> str:
    """A format without the name of its engine before it."""
    return form.removeprefix("mlx-").removeprefix("MLX-")
