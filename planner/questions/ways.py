"""How each runtime stores a model in 16, 8 or 4 bits, so that runtimes are compared by the same class of weights."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from planner.architecture.quantization import weight_bits
from planner.catalogue.load import Entry, find_model
from planner.catalogue.resolve import find_source, slug
from planner.engines.vllm.alternatives import NATIVE_FP8, ONLINE
from planner.errors import PlannerError
from planner.facts.document import json_object
from planner.facts.hardware import GpuSpec
from planner.facts.verdict import Engine
from planner.questions.local import DEFAULT_MIX

CLASSES = (16, 8, 4)
_GGUF = {16: "BF16", 8: "Q8_0", 4: "Q4_K_M"}
_MLX = {16: "bf16", 8: "8bit", 4: "4bit"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A model as one runtime stores it; `bits` is its class, 0 for a file that is served as it is."""

    engine: Engine
    bits: int
    model: str
    quantization: str | None = None

    @property
    def arguments(self) -> str:
        """What `plan` is told to plan exactly this."""
        words = ["--model", self.model, *(["--quantization", self.quantization] if self.quantization else [])]
        return shlex.join(words + ([] if self.engine in ("vllm", "mlx") else ["--engine", self.engine]))


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a model: its plain name, vLLM's checkpoints by class, least quantized first, and whether a smaller class may be made of it."""

    name: str
    architecture: str
    checkpoints: dict[int, tuple[str, ...]]
    is_open: bool


def known(name: str) -> Known:
    """The ways of a model by its catalogue name, its Hub id or a folder. A named variant is of its own class alone. Raises PlannerError."""
    if name.endswith(".gguf"):
        return Known(name, "", {}, is_open=False)
    entry = find_model(name)
    if entry is None:
        source = find_source(name)
        quantization = json_object(source.config.get("quantization_config"))
        return Known(name, source.spec.architecture, {_class(weight_bits(quantization)): (name,)}, is_open=True)
    own = entry.row.config.get("quantization_config") or {}
    is_open = entry.variant.default or entry.variant.runtime != "vllm"
    siblings = [Entry(entry.row, variant) for variant in entry.row.variants if variant.runtime == "vllm" and variant.name != "base"] if is_open else [entry]
    found: dict[int, tuple[str, ...]] = {}
    for one in siblings:
        bits = _class(weight_bits(one.variant.quantization or own))
        found[bits] = (*found.get(bits, ()), slug(one.name))
    return Known(slug(entry.row.name if is_open else entry.name), entry.spec().architecture, found, is_open=is_open)


def _class(bits: int) -> int:
    return next((one for one in CLASSES if bits >= one), CLASSES[-1])


def together(names: Sequence[str]) -> list[list[str]]:
    """Names of one model side by side: its variants are compared in one table, not in one each."""
    found: dict[str, list[str]] = {}
    for name in names:
        entry = None if name.endswith(".gguf") else find_model(name)
        found.setdefault(entry.row.name if entry else name, []).append(name)
    return list(found.values())


def ways(names: Sequence[str], engines: Sequence[Engine], gpu: GpuSpec) -> list[list[Way]]:
    """For each class of weights and each runtime the ways to serve it, most usual first; a runtime without one is left out of a class."""
    found = [known(name) for name in names]
    if any(one.name.endswith(".gguf") for one in found):
        return [[Way(engine=engine, bits=0, model=found[0].name)] for engine in engines if engine in ("llama.cpp", "ollama")]
    rows = []
    for bits in CLASSES:
        for engine in engines:
            held = list(dict.fromkeys(way for one in found for way in _of(one, engine, bits, gpu)))
            rows += [held] if held else []
    if not rows:
        raise PlannerError(f"no runtime of {gpu.title} is known to serve {', '.join(names)}")
    return rows


def _of(one: Known, engine: Engine, bits: int, gpu: GpuSpec) -> list[Way]:
    if bits not in one.checkpoints and not (one.is_open and bits < max(one.checkpoints)):
        return []
    if engine != "vllm":
        form = _MLX[bits] if engine == "mlx" else (DEFAULT_MIX.get(one.architecture) if bits == 4 else None) or _GGUF[bits]
        return [Way(engine=engine, bits=bits, model=one.name, quantization=form)]
    if bits in one.checkpoints:
        return [Way(engine=engine, bits=bits, model=name) for name in one.checkpoints[bits]]
    native = gpu.vendor == "nvidia" and gpu.capability >= NATIVE_FP8
    if bits == 8 and 16 in one.checkpoints and native:
        return [Way(engine=engine, bits=bits, model=one.checkpoints[16][0], quantization=ONLINE)]
    return []
