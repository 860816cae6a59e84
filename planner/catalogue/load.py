"""models.yaml and gpus.yaml: the only YAML reader.

One question needs one row of each file, so a row is cut out by its text and parsed; a miss, or a file written in another style, falls
back to reading everything. Equal keys are refused (PyYAML would silently keep the last), faults carry file and line. pydantic validates
every row on load, except of a file that is byte for byte the one that was validated for this release (validated.json): importing
pydantic costs more than the whole answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from planner.catalogue.gpu_names import gpu_key, gpu_keys, near_gpu, sized_name
from planner.catalogue.rows import GpuRow, ModelRow, Pcie
from planner.errors import CatalogError, PlannerError, did_you_mean
from planner.facts.deployment import Sampling
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.variant import Variant
from planner.units import GIB

Row = TypeVar("Row", GpuRow, ModelRow)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model variant found in the catalogue."""

    row: ModelRow
    variant: Variant

    @property
    def name(self) -> str:
        """The name a user types."""
        return self.row.name if self.variant.default else model_key(f"{self.row.name}-{self.variant.name}")

    @property
    def config(self) -> dict[str, Any]:
        """The keys of config.json that decide sizes, with this variant's quantization."""
        return self.row.config | ({"quantization_config": self.variant.quantization} if self.variant.quantization else {})

    @property
    def sampling(self) -> Sampling:
        """What is recommended for sampling; nothing for a thinking variant of a model whose row is about the other one."""
        return self.row.sampling if self.row.sampling and "thinking" not in self.variant.repo.lower() else Sampling()

    def spec(self, online: str | None = None) -> ModelSpec:
        """The model as this variant stores it, or as vLLM does that quantizes it while loading."""
        return self.row.spec(self.variant, online)


@cache
def catalogue_path(name: str) -> Path:
    """Where models.yaml and gpus.yaml lie: in the installed package, else at the top of the checkout."""
    inside = Path(__file__).parents[1] / name
    return inside if inside.exists() else Path(__file__).parents[2] / name


class _Loader(yaml.CSafeLoader):
    """Refuses equal keys."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key is no text", key.start_mark)
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} appears twice", key.start_mark)
        seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path, most_bytes: int) -> Any:
    """A user's YAML file: equal keys, anchors (a few lines of them expand to gigabytes) and large files are refused. Raises PlannerError."""
    try:
        if path.stat().st_size > most_bytes:
            raise PlannerError(f"{path}: {path.stat().st_size:,} bytes; at most {most_bytes:,} are read")
        with path.open("rb") as stream:  # a pipe tells no size
            content = stream.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise PlannerError(f"{path}: more than {most_bytes:,} bytes")
        text = content.decode()
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if getattr(event, "anchor", None):
                line = event.start_mark.line + 1 if event.start_mark else 1
                raise PlannerError(f"{path}:{line}: anchors and aliases are not read", "write the values out")
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except (OSError, UnicodeDecodeError) as error:
        raise PlannerError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PlannerError(f"{path}:{line}: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise PlannerError(f"{path}: not YAML ({' '.join(str(error).split())[:100]})") from None


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
    row: Row = _parsed(path, chunk, row_type)  # type: ignore[arg-type]
    return row


@cache
def _parsed(path: Path, chunk: _Chunk, row_type: Any) -> Any:
    try:
        data = yaml.load(chunk.text, Loader=_Loader)[0]  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        line = chunk.line + (error.problem_mark.line if error.problem_mark else 0)
        raise CatalogError(f"{path.name}:{line}: {error.problem}") from None
    if not is_validated(path):
        from planner.catalogue.validation import first_fault

        fault = first_fault(data, row_type)
        if fault:
            where, message = fault
            raise CatalogError(f"{path.name}:{chunk.line + _line_of(chunk.text, where)}: {'.'.join(map(str, where))}: {message}")
    return _row(data, row_type)


def _row(data: dict[str, Any], row_type: type[Row]) -> Row:
    """A row from validated data."""
    if row_type is ModelRow:
        data = data | {"variants": [Variant(**variant) for variant in data["variants"]]}
        if data.get("sampling"):
            given: dict[str, Any] = data["sampling"]
            data["sampling"] = Sampling(**given | {name: float(given[name]) for name in _SHARES if given.get(name) is not None})
    elif data.get("pcie"):
        data = data | {"pcie": Pcie(**data["pcie"])}
    return row_type(**data)


@cache
def is_validated(path: Path) -> bool:
    """Whether this file is the one that was validated for the release."""
    known: dict[str, str] = json.loads(Path(__file__).with_name("validated.json").read_text("utf-8"))
    return known.get(path.name) == digest(path)


def digest(path: Path) -> str:
    """What validated.json keeps of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _line_of(text: str, location: tuple[int | str, ...]) -> int:
    """Lines below the start of the row where the key at fault is."""
    document: Any = yaml.compose(text, Loader=yaml.CSafeLoader)
    node = document.value[0]
    line: int = node.start_mark.line
    for part in location:
        if isinstance(node, yaml.MappingNode):
            children: dict[Any, Any] = {key.value: (key, value) for key, value in node.value}
        else:
            children = dict(enumerate((value, value) for value in node.value))
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


def model_key(name: str) -> str:
    """The form in which model names are compared."""
    return re.sub(r"[\s_]+", "-", name.strip().lower())


def _likely(path: Path, needle: str) -> Iterator[_Chunk]:
    """Chunks whose text mentions the name in any spelling."""
    for chunk in _chunks(path):
        if needle in re.sub(r"[^a-z0-9]", "", chunk.text.lower()):
            yield chunk


_SHARES = ("temperature", "top_p", "min_p", "presence_penalty")  # a row may say 0 for 0.0; plan.json is read back as the latter
_HERE: dict[str, GpuSpec] = {}  # GPUs as they are on this machine, by the name that asks for them (`auto`)


def know_gpu(name: str, gpu: GpuSpec) -> None:
    """Let a name stand for a GPU that was read off this machine."""
    _HERE[name] = gpu


def find_gpu(name: str) -> GpuSpec:
    """The GPU a person means. Raises PlannerError with the nearest names."""
    if name in _HERE:
        return _HERE[name]
    if found := _found_gpu(gpu_key(name), catalogue_path("gpus.yaml")):
        return found
    raise PlannerError(f"GPU {name[:60]!r} is not in the catalogue", near_gpu(name, gpu_rows()) or "`plan list gpus` names all")


@lru_cache(maxsize=4096)
def _found_gpu(wanted: str, path: Path) -> GpuSpec | None:
    for chunk in _likely(path, wanted):
        row = _parse(path, chunk, GpuRow)
        if wanted in gpu_keys(row):
            if len(row.memory_options_gb) > 1:
                *most, last = map(str, row.memory_options_gb)
                raise PlannerError(f"{row.title} comes with {', '.join(most)} or {last} GB", f"name one, e.g. {sized_name(row)}")
            return row.spec()
    return _sized_mac(wanted)


def _sized_mac(wanted: str) -> GpuSpec | None:
    """A Mac with its memory behind its chip: m4max128gb."""
    macs = [(key, row) for row in gpu_rows() if row.vendor == "apple" for key in gpu_keys(row) if re.fullmatch(r"\d{1,3}(gb?)?", wanted.removeprefix(key))]
    if not macs:
        return None
    chip, row = max(macs, key=lambda found: len(found[0]))
    size = int(wanted.removeprefix(chip).rstrip("gb"))
    if row.memory_options_gb and size not in row.memory_options_gb:
        raise PlannerError(f"{row.title} is not sold with {size} GB", f"it comes with {', '.join(map(str, row.memory_options_gb))} GB, e.g. {sized_name(row)}")
    return replace(row.spec(), name=f"{row.name}-{size}gb", title=f"{row.title} {size} GB", memory_bytes=size * GIB, cuda_total_bytes=size * GIB)


def entry_names(row: ModelRow, variant: Variant) -> set[str]:
    """All names of one variant: the row's (with its variant), aliases, the repository with and without its owner."""
    repo = model_key(variant.repo)
    names = {repo, repo.rpartition("/")[2], *(model_key(f"{base}-{variant.name}") for base in (row.name, *map(model_key, row.aliases)))}
    return names | {row.name, *map(model_key, row.aliases)} if variant.default else names


def find_model(name: str) -> Entry | None:
    """The catalogue entry a person means, None where there is none."""
    return _found_model(model_key(name), catalogue_path("models.yaml"))


@lru_cache(maxsize=4096)
def _found_model(wanted: str, path: Path) -> Entry | None:
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
        if wanted.startswith(first) or wanted in chunk.text.lower().replace("_", "-") or any(alias in wanted for alias in _aliases(chunk.text)):
            yield chunk


@lru_cache(maxsize=4096)
def _aliases(text: str) -> Iterable[str]:
    block = re.search(r"(?m)^  aliases:\n((?:  - .+\n)+)", text)
    return re.findall(r"- (\S+)", block[1]) if block else ()


@cache
def _model_names(path: Path) -> tuple[str, ...]:
    return tuple(known for row in rows(path.name, ModelRow) for variant in row.variants for known in sorted(entry_names(row, variant)))


def unknown_model(name: str) -> PlannerError:
    """The error for a name that is in no catalogue."""
    known = _model_names(catalogue_path("models.yaml"))
    return PlannerError(
        f"unknown model {name[:100]!r}", did_you_mean(model_key(name[:200]), known) or "`plan list models` names all; a folder with a config.json works too"
    )
