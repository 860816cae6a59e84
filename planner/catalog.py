"""models.yaml and gpus.yaml: the only YAML reader.

One question needs one row of each file, so a row is cut out by its text, parsed and validated; a miss, or a file written in another
style, falls back to reading everything. Equal keys are refused (PyYAML would silently keep the last), faults carry file and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from planner.architecture import Config, build_model
from planner.errors import CatalogError, PlannerError, did_you_mean
from planner.hardware import GpuSpec
from planner.model import ModelSpec
from planner.units import GIB, MIB

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
_Positive = Annotated[float, Field(gt=0)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


Row = TypeVar("Row", bound=_Row)


class Pcie(_Row):
    """The PCIe slot of a card."""

    generation: int
    lanes: int
    gb_per_s: _Positive
    """One direction, from the line rate."""


class GpuRow(_Row):
    """One GPU."""

    name: Name
    title: str
    vendor: Literal["nvidia", "amd", "apple"]
    aliases: list[str] = []
    memory_mib: int
    """What the driver reports."""
    memory_options_gb: list[int] = []
    cuda_total_gib: _Positive | None = None
    """What CUDA sees on Linux; the lowest observed."""
    cuda_total_estimated: bool = False
    wsl2_total_gib: _Positive | None = None
    free_at_start_gib: _Positive | None = None
    wsl2_free_at_start_gib: _Positive | None = None
    compute_capability: Annotated[str, Field(pattern=r"^\d+\.\d$")] | None = None
    bandwidth_gb_per_s: _Positive
    dense_tflops: dict[Literal["bf16", "fp8", "fp4", "int8"], _Positive] = {}
    pcie: Pcie | None = None
    nvlink_gb_per_s: _Positive | None = None
    """Both directions together, all links (NVLink, or Infinity Fabric)."""
    power_w: int | None = None
    unified_memory: bool = False
    sources: dict[str, str]
    checked: str

    def spec(self) -> GpuSpec:
        """The facts in bytes."""
        capability = tuple(int(part) for part in self.compute_capability.split(".")) if self.compute_capability else None
        memory = self.memory_mib * MIB
        return GpuSpec(
            name=self.name,
            title=self.title,
            vendor=self.vendor,
            memory_bytes=memory,
            cuda_total_bytes=_gib(self.cuda_total_gib) or memory,
            wsl2_total_bytes=_gib(self.wsl2_total_gib),
            free_at_start_bytes=_gib(self.free_at_start_gib),
            wsl2_free_at_start_bytes=_gib(self.wsl2_free_at_start_gib),
            compute_capability=(capability[0], capability[1]) if capability else None,
            bandwidth_bytes_per_s=int(self.bandwidth_gb_per_s * 1e9),
            dense_flops=tuple((dtype, int(value * 1e12)) for dtype, value in self.dense_tflops.items()),
            nvlink=self.nvlink_gb_per_s is not None and self.vendor == "nvidia",
            power_w=self.power_w,
            unified_memory=self.unified_memory,
        )


class Variant(_Row):
    """One repository or tag of a model."""

    name: Name
    repo: str
    quantization: dict[str, Any] = {}
    """Its quantization_config, as the checkpoint's config.json has it."""
    runtime: Literal["vllm", "mlx", "ollama"] = "vllm"
    format: str | None = None
    """MLX or GGUF quantization of the runtimes that are not vLLM."""
    default: bool = False


class ModelRow(_Row):
    """One model."""

    name: Name
    title: str
    family: str
    kind: Literal["chat", "vision", "embedding"]
    aliases: list[str] = []
    parameters: int
    """Parameters vLLM loads, computed from the architecture."""
    sources: list[str]
    checked: str
    variants: list[Variant]
    config: dict[str, Any]
    """The keys of config.json that decide sizes."""

    def spec(self, variant: Variant) -> ModelSpec:
        """The model as this variant stores it."""
        config = {**self.config, "quantization_config": variant.quantization} if variant.quantization else self.config
        return build_model(Config(config, f"models.yaml: {self.name}"), self.name)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model variant found in the catalogue."""

    row: ModelRow
    variant: Variant

    @property
    def name(self) -> str:
        """The name a user types."""
        return self.row.name if self.variant.default else model_key(f"{self.row.name}-{self.variant.name}")

    def spec(self) -> ModelSpec:
        """The model as this variant stores it."""
        return self.row.spec(self.variant)


def _gib(value: float | None) -> int | None:
    return None if value is None else int(value * GIB)


@cache
def catalogue_path(name: str) -> Path:
    """Where models.yaml and gpus.yaml lie: in the installed package, else at the top of the checkout."""
    inside = Path(__file__).parent / name
    return inside if inside.exists() else Path(__file__).parent.parent / name


class _Loader(yaml.CSafeLoader):
    """Refuses equal keys."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key, _ in node.value:
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} appears twice", key.start_mark)
        seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The text of one row and the line it starts at."""

    text: str
    line: int


@cache
def _chunks(path: Path) -> tuple[_Chunk, ...]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: cannot be read ({error})") from None
    parts, line = [], 1
    for part in re.split(r"(?m)^(?=- )", text):
        if part.startswith("- "):
            parts.append(_Chunk(part, line))
        line += part.count("\n")
    return tuple(parts)


def _parse(path: Path, chunk: _Chunk, row_type: type[Row]) -> Row:
    try:
        data = yaml.load(chunk.text, Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        line = chunk.line + (error.problem_mark.line if error.problem_mark else 0)
        raise CatalogError(f"{path.name}:{line}: {error.problem}") from None
    try:
        return row_type.model_validate(data[0])
    except ValidationError as error:
        first = error.errors()[0]
        line = chunk.line + _line_of(chunk.text, first["loc"])
        where = ".".join(str(part) for part in first["loc"])
        raise CatalogError(f"{path.name}:{line}: {where}: {first['msg']}") from None


def _line_of(text: str, location: tuple[int | str, ...]) -> int:
    """Lines below the start of the row where the key at fault is."""
    node: Any = yaml.compose(text, Loader=yaml.CSafeLoader).value[0]
    line: int = node.start_mark.line
    for part in location:
        children = dict((key.value, (key, value)) for key, value in node.value) if isinstance(node, yaml.MappingNode) else dict(enumerate((v, v) for v in node.value))
        if part not in children:
            break
        key, node = children[part]
        line = key.start_mark.line
    return line


def rows(file: str, row_type: type[Row]) -> Iterator[Row]:
    """Every row of a catalogue file, validated."""
    path = catalogue_path(file)
    for chunk in _chunks(path):
        yield _parse(path, chunk, row_type)


def gpu_rows() -> Iterator[GpuRow]:
    """Every GPU."""
    return rows("gpus.yaml", GpuRow)


def model_rows() -> Iterator[ModelRow]:
    """Every model."""
    return rows("models.yaml", ModelRow)


def gpu_key(name: str) -> str:
    """The form in which GPU names are compared: "NVIDIA RTX 4090" and "rtx-4090" are one."""
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"^(nvidia)?(geforce|tesla|amdinstinct|amd|instinct)?", "", key) or key


def model_key(name: str) -> str:
    """The form in which model names are compared."""
    return re.sub(r"[\s_]+", "-", name.strip().lower())


def _likely(path: Path, needle: str) -> Iterator[_Chunk]:
    """Chunks whose text mentions the name in any spelling."""
    for chunk in _chunks(path):
        if needle in re.sub(r"[^a-z0-9]", "", chunk.text.lower()):
            yield chunk


def find_gpu(name: str) -> GpuSpec:
    """The GPU a person means. Raises PlannerError with the nearest names."""
    wanted, path = gpu_key(name), catalogue_path("gpus.yaml")
    for chunk in _likely(path, wanted):
        row = _parse(path, chunk, GpuRow)
        if wanted in _gpu_keys(row):
            return row.spec()
    everything = list(gpu_rows())
    known = [alias for row in everything for alias in (row.name, *row.aliases)]
    raise PlannerError(f"unknown GPU {name!r}", did_you_mean(name.lower(), known) or "`plan list gpus` names all")


def _gpu_keys(row: GpuRow) -> set[str]:
    return {gpu_key(word) for word in (row.name, row.title, *row.aliases)}


def entry_names(row: ModelRow, variant: Variant) -> set[str]:
    """All names of one variant: the row's (with its variant), aliases, the repository with and without its owner."""
    repo = model_key(variant.repo)
    names = {repo, repo.rpartition("/")[2], *(model_key(f"{base}-{variant.name}") for base in (row.name, *map(model_key, row.aliases)))}
    return names | {row.name, *map(model_key, row.aliases)} if variant.default else names


def find_model(name: str) -> Entry | None:
    """The catalogue entry a person means, None where there is none."""
    wanted, path = model_key(name), catalogue_path("models.yaml")
    for chunk in _mentioning(path, wanted):
        row = _parse(path, chunk, ModelRow)
        for variant in row.variants:
            if wanted in entry_names(row, variant):
                return Entry(row, variant)
    return None


def _mentioning(path: Path, wanted: str) -> Iterator[_Chunk]:
    """Chunks that can hold the name: its row name is a prefix of it, or it is mentioned."""
    for chunk in _chunks(path):
        first = chunk.text.partition("\n")[0].partition(":")[2].strip()
        if wanted.startswith(first) or wanted in chunk.text.lower() or any(alias in wanted for alias in _aliases(chunk.text)):
            yield chunk


def _aliases(text: str) -> Iterable[str]:
    block = re.search(r"(?m)^  aliases:\n((?:  - .+\n)+)", text)
    return re.findall(r"- (\S+)", block[1]) if block else ()


def unknown_model(name: str) -> PlannerError:
    """The error for a name that is in no catalogue."""
    known = [known for row in model_rows() for variant in row.variants for known in entry_names(row, variant)]
    return PlannerError(f"unknown model {name!r}", did_you_mean(model_key(name), known) or "`plan list models` names all; a folder with a config.json works too")
