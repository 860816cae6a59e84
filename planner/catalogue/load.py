"""What names stand for: the shipped catalogue, a person's own rows, which win, and the GPU of this machine.

A `Catalogue` is a value. The door of a command sets the one that counts there (`using`), and hands it to the processes that it starts; everything
below asks `find_gpu` and `find_model` (docs/decisions/0008-data-is-built.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field
from functools import cached_property

from planner.catalogue.data import RowData
from planner.catalogue.names import entry_names, gpu_key, gpu_keys, model_key, names_of_models, sized_name, variant_key
from planner.catalogue.rows import GpuRow, ModelRow
from planner.catalogue.shipped import shipped, shipped_gpu, shipped_model
from planner.errors import PlannerError, did_you_mean
from planner.facts.command_line import AUTO
from planner.facts.deployment import Sampling
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass
from planner.facts.variant import Variant


@dataclass(frozen=True, slots=True)
class Entry:
    """A model variant of the catalogue."""

    row: ModelRow
    variant: Variant
    tag: str = ""
    """The name, where the row has no variant of it: a tag of Ollama's with another format."""

    @property
    def name(self) -> str:
        """The name a user types."""
        return self.tag or variant_key(self.row, self.variant)

    @property
    def config(self) -> RowData:
        """The keys of config.json that decide sizes, with this variant's quantization."""
        return self.row.config_of(self.variant)

    @property
    def hf_quant(self) -> RowData | None:
        """This variant's hf_quant_config.json, where it has one."""
        return self.row.hf_quant_of(self.variant)

    @property
    def bits(self) -> int:
        """Bits of most weights as this variant stores them."""
        from planner.architecture import Config, stored_bits

        return stored_bits(Config(self.config, self.name), Config(self.hf_quant, self.name) if self.hf_quant else None)

    @property
    def sampling(self) -> Sampling:
        """What is recommended for sampling; nothing for a thinking variant of a model whose row is about the other one."""
        return self.row.sampling if self.row.sampling and "thinking" not in self.variant.repo.lower() else Sampling()

    def spec(self, online: str | None = None) -> ModelSpec:
        """The model as this variant stores it, or as vLLM does that quantizes it while loading."""
        return self.row.spec(self.variant, online)


@dataclass(frozen=True, eq=False, kw_only=True)
class Catalogue:
    """A person's own rows by their names, beside those that ship: one of theirs takes the place of ours of the same name, with all of its names.

    Equal ones answer alike, in whichever process: caches may have one as a key.
    """

    own_gpus: Mapping[str, GpuRow] = field(default_factory=dict)
    own_models: Mapping[str, ModelRow] = field(default_factory=dict)
    gpus_file: str = ""
    """The file that the GPUs are from, as it was named."""
    models_file: str = ""
    here: GpuSpec | None = None
    """The GPU as it is on this machine: what `auto` names."""

    def gpu_rows(self) -> Iterator[GpuRow]:
        """Every GPU, in the order of gpus.yaml; own ones that are not there last."""
        ours = shipped("gpus")["rows"]
        yield from (self.own_gpus[name] if name in self.own_gpus else shipped_gpu(name) for name in ours)
        yield from (row for name, row in self.own_gpus.items() if name not in ours)

    def model_rows(self) -> Iterator[ModelRow]:
        """Every model, likewise."""
        ours = shipped("models")["rows"]
        yield from (self.own_models[name] if name in self.own_models else shipped_model(name) for name in ours)
        yield from (row for name, row in self.own_models.items() if name not in ours)

    def gpu_row(self, key: str) -> GpuRow | None:
        """The GPU of a name as names are compared (`gpu_key`)."""
        if key in self._own_gpu_names:
            return self.own_gpus[self._own_gpu_names[key]]
        name = shipped("gpus")["names"].get(key)
        return None if name is None or name in self.own_gpus else shipped_gpu(name)

    def entry(self, key: str) -> Entry | None:
        """The model variant of a name as names are compared (`model_key`)."""
        if key in self._own_model_names:
            name, index = self._own_model_names[key]
            row = self.own_models[name]
        else:
            name, index = shipped("models")["names"].get(key, (None, 0))
            if name is None or name in self.own_models:
                return None
            row = shipped_model(name)
        return Entry(row, row.variants[index])

    def gpu_names(self) -> Iterator[str]:
        """All names of all GPUs, as names are compared."""
        yield from self._own_gpu_names
        yield from (key for key, name in shipped("gpus")["names"].items() if name not in self.own_gpus)

    @cached_property
    def model_names(self) -> tuple[str, ...]:
        """All names of all models, as names are compared."""
        return tuple(dict.fromkeys(name for row in self.model_rows() for variant in row.variants for name in sorted(entry_names(row, variant))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalogue) and (self.digest, self.here) == (other.digest, other.here)

    def __hash__(self) -> int:
        return hash((self.digest, self.here))

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digits that stand for the own rows; nothing where there are none."""
        rows = [*self.own_gpus.values(), *self.own_models.values()]
        if not rows:
            return ""
        import hashlib

        return hashlib.sha256(repr(rows).encode()).hexdigest()

    @cached_property
    def _own_gpu_names(self) -> dict[str, str]:
        return {key: name for name, row in self.own_gpus.items() for key in gpu_keys(row)}

    @cached_property
    def _own_model_names(self) -> dict[str, tuple[str, int]]:
        return names_of_models(self.own_models.values())


_MARKETED = 0.07  # by how much of what is marketed a driver reports less (ECC)
_CURRENT: ContextVar[Catalogue] = ContextVar("catalogue", default=Catalogue())  # noqa: B039 - nothing in it changes


def current() -> Catalogue:
    """The catalogue that counts here."""
    return _CURRENT.get()


def use(catalogue: Catalogue) -> None:
    """Let a catalogue count from here to the end of this thread: of a process that was started for one question."""
    _CURRENT.set(catalogue)


@contextmanager
def using(catalogue: Catalogue) -> Iterator[None]:
    """Let a catalogue count for what is asked inside, in this thread and the tasks it starts."""
    token = _CURRENT.set(catalogue)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def gpu_rows() -> Iterator[GpuRow]:
    """Every GPU."""
    return current().gpu_rows()


def model_rows() -> Iterator[ModelRow]:
    """Every model."""
    return current().model_rows()


def architectures() -> list[str]:
    """Classes of a config.json that are known."""
    from planner.architecture.families import FAMILIES

    return sorted(FAMILIES)


def find_gpu(name: str) -> GpuSpec:
    """The GPU a person means. Raises PlannerError with the nearest names."""
    catalogue = current()
    if name == AUTO and catalogue.here is not None:
        return catalogue.here
    wanted = gpu_key(name)
    if row := catalogue.gpu_row(wanted):
        if len(row.memory_options_gb) > 1:
            *most, last = map(str, row.memory_options_gb)
            raise PlannerError(f"{row.title} comes with {', '.join(most)} or {last} GB", f"name one, e.g. {sized_name(row)}")
        return row.spec()
    if sized := _sized(wanted, catalogue) or _with_memory(wanted, catalogue):
        return sized
    from planner.catalogue.gpu_names import near_gpu, too_old

    if why := too_old(name):
        raise PlannerError(*why)
    raise PlannerError(f"GPU {name[:60]!r} is not in the catalogue", near_gpu(name, gpu_rows()) or "`plan list gpus` names all")


def _sized(wanted: str, catalogue: Catalogue) -> GpuSpec | None:
    """A chip with its memory behind its name: m4max128gb. Raises PlannerError for a size it is not sold with."""
    chips = [key for key in catalogue.gpu_names() if wanted.startswith(key) and re.fullmatch(r"\d{1,3}(gb?)?", wanted.removeprefix(key))]
    rows = [(key, row) for key in chips if (row := catalogue.gpu_row(key)) and row.memory_options_gb]
    if not rows:
        return None
    chip, row = max(rows, key=lambda pair: len(pair[0]))
    size = int(wanted.removeprefix(chip).rstrip("gb"))
    if size not in row.memory_options_gb:
        if wanted == f"{chip}{size}" and size < 10:  # another chip: a Tesla M40 is no M4
            return None
        raise PlannerError(f"{row.title} is not sold with {size} GB", f"it comes with {', '.join(map(str, row.memory_options_gb))} GB, e.g. {sized_name(row)}")
    return row.sized_spec(size)


def _with_memory(wanted: str, catalogue: Catalogue) -> GpuSpec | None:
    """A card with its memory behind its name: rtx3090 24gb. Raises PlannerError for a memory that it does not have."""
    keys = [key for key in catalogue.gpu_names() if wanted.startswith(key) and re.fullmatch(r"\d{1,3}gb?", wanted.removeprefix(key))]
    if not keys or (row := catalogue.gpu_row(max(keys, key=len))) is None:
        return None
    size = int(wanted.removeprefix(max(keys, key=len)).rstrip("gb"))
    if abs(row.memory_mib / 1024 - size) <= _MARKETED * size:
        return row.spec()
    named = [other for other in catalogue.gpu_rows() if other.name == row.name or (other.name.startswith(f"{row.name}-") and other.mobile == row.mobile)]
    raise PlannerError(f"{row.title} has no {size} GB", f"known: {', '.join(f'{other.name} ({other.memory_mib / 1024:.0f} GB)' for other in named)}")


def find_card(name: str, memory_bytes: int) -> GpuSpec:
    """The GPU that a driver reports: where cards with another memory share its name, the one whose memory is nearest. Raises PlannerError."""
    key = gpu_key(name)
    sharing = [row for row in gpu_rows() if key in map(gpu_key, row.shared_names)]
    return min((row.spec() for row in sharing), key=lambda spec: abs(spec.memory_bytes - memory_bytes)) if sharing else find_gpu(name)


def find_model(name: str) -> Entry | None:
    """The catalogue entry a person means, None where there is none."""
    key = model_key(name)
    if (entry := current().entry(key)) or "/" in key:
        return entry
    if ":" not in key:
        return current().entry(f"{key}:latest") or _of_one_size(key)
    from planner.catalogue.tags import retagged

    return retagged(name, current().entry)


def _of_one_size(key: str) -> Entry | None:
    """The model that is called so but for its size, where no other size of its line is known, however that is written."""
    sized = re.compile(rf"{re.escape(key.replace('-', ''))}:?(\d+(?:\.\d+)?[bmt])")
    if len({found[1] for name in current().model_names if (found := sized.match(name.replace("-", "")))}) != 1:
        return None
    own = re.compile(rf"{re.escape(key)}-\d+(\.\d+)?[bt](-a\d+(\.\d+)?b)?")
    named = (current().entry(name) for name in current().model_names if own.fullmatch(name))
    return next((entry for entry in named if entry and own.fullmatch(entry.row.name)), None)


def unknown_model(name: str) -> PlannerError:
    """The error for a name that is in no catalogue."""
    hint = did_you_mean(model_key(name[:200]), current().model_names)
    return PlannerError(f"unknown model {name[:100]!r}", hint or "`plan list models` names all; a folder with a config.json works too")
