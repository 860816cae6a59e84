"""How each runtime stores a model in 16, 8 or 4 bits, so that runtimes are compared by the same class of weights."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from planner.catalogue.load import Entry, find_model
from planner.catalogue.resolve import find_source, source_bits
from planner.engines import ENGINES
from planner.engines.catalogue import Checkpoints
from planner.errors import PlannerError
from planner.facts.hardware import GpuSpec
from planner.facts.record import dataclass
from planner.questions.question import engine_of
from planner.text import slug

CLASSES = (16, 8, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A model as one runtime stores it; `bits` is its class, 0 for a file that is served as it is."""

    engine: str
    bits: int
    model: str
    quantization: str | None = None
    is_named: bool = False
    """Whether the engine is another than the one that is meant on such a GPU."""
    replicas: int = 1
    """How many GPUs hold a copy each, where the engine would divide one over all of them."""

    @property
    def arguments(self) -> str:
        """What `plan` is told to plan exactly this."""
        words = ["--model", self.model, *(["--quantization", self.quantization] if self.quantization else [])]
        words += ["--data-parallel-size", str(self.replicas)] if self.replicas > 1 else []
        return shlex.join(words + (["--engine", self.engine] if self.is_named else []))


def known(name: str) -> Checkpoints:
    """The ways of a model by its catalogue name, its Hub id or a folder. A named variant is of its own class alone. Raises PlannerError."""
    if name.endswith(".gguf"):
        return Checkpoints(name, "", {}, is_open=False)
    entry = find_model(name)
    if entry is None:
        source = find_source(name)
        return Checkpoints(name, source.spec.architecture, {_class(source_bits(source)): (name,)}, is_open=True)
    is_open = entry.variant.default or not entry.variant.is_checkpoint
    siblings = [Entry(entry.row, variant) for variant in entry.row.variants if variant.is_checkpoint and variant.is_the_model] if is_open else [entry]
    names: dict[int, tuple[str, ...]] = {}
    for checkpoint in siblings:
        bits = _class(checkpoint.bits)
        names[bits] = (*names.get(bits, ()), slug(checkpoint.name))
    return Checkpoints(slug(entry.row.name if is_open else entry.name), _architecture(entry), names, is_open=is_open)


def _architecture(entry: Entry) -> str:
    """The class that its config names, without its layers."""
    named = entry.config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else entry.spec().architecture


def _class(bits: int) -> int:
    return next((bits_class for bits_class in CLASSES if bits >= bits_class), CLASSES[-1])


def together(names: Sequence[str]) -> list[list[str]]:
    """Names of one model side by side: its variants are compared in one table, not in one each."""
    grouped: dict[str, list[str]] = {}
    for name in names:
        entry = None if name.endswith(".gguf") else find_model(name)
        grouped.setdefault(entry.row.name if entry else name, []).append(name)
    return list(grouped.values())


def ways(names: Sequence[str], engines: Sequence[str], gpu: GpuSpec) -> list[list[Way]]:
    """For each class of weights and each runtime the ways to serve it, most usual first; a runtime without one is left out of a class."""
    known_models = [known(name) for name in names]
    if any(checkpoints.name.endswith(".gguf") for checkpoints in known_models):
        return [
            [Way(engine=engine, bits=0, model=known_models[0].name, is_named=engine != engine_of(None, gpu))]
            for engine in engines
            if ENGINES[engine].reads_gguf
        ]
    rows = []
    for bits in CLASSES:
        for engine in engines:
            held = list(dict.fromkeys(way for checkpoints in known_models for way in _of(checkpoints, engine, bits, gpu)))
            rows += [held] if held else []
    if not rows:
        raise PlannerError(f"no runtime of {gpu.title} is known to serve {', '.join(names)}")
    return rows


def _of(checkpoints: Checkpoints, engine: str, bits: int, gpu: GpuSpec) -> list[Way]:
    if bits not in checkpoints.by_bits and not (checkpoints.is_open and bits < max(checkpoints.by_bits)):
        return []
    named = engine != engine_of(None, gpu)
    return [Way(engine=engine, bits=bits, model=model, quantization=form, is_named=named) for model, form in ENGINES[engine].ways(checkpoints, bits, gpu)]
