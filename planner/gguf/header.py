"""What a GGUF file says of itself: metadata and tensors of its header (github.com/ggml-org/ggml, docs/gguf.md, versions 2 and 3), never a weight."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from planner.errors import PlannerError
from planner.gguf.ggml import TYPE_NUMBERS, tensor_bytes

MAGIC = b"GGUF"
MOST_ENTRIES, MOST_ITEMS, MOST_TEXT_BYTES = 100_000, 10_000_000, 1 << 24  # far above any real file; a damaged one stops here
MOST_DIMENSIONS = 4
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_KEPT_ITEMS = 4096  # arrays of that many numbers are read: values by layer; a vocabulary is passed over
HUB = "https://huggingface.co/"


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of the file: its name, its shape with the row length last, its type."""

    name: str
    shape: tuple[int, ...]
    type: str

    @property
    def bytes(self) -> int:
        """What it takes."""
        return tensor_bytes(self.type, self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """A file's metadata and tensors."""

    metadata: dict[str, object]
    tensors: tuple[StoredTensor, ...]

    @property
    def architecture(self) -> str:
        """The name its own metadata keys begin with."""
        return str(self.metadata.get("general.architecture", ""))

    def integer(self, key: str, default: int = 0) -> int:
        """A number of the architecture's; of one by layer, the largest."""
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        numbers = value if isinstance(value, list) else [value]
        return max((int(number) for number in numbers if isinstance(number, int | float)), default=default)

    def by_layer(self, key: str, layers: int) -> list[int]:
        """A number for each layer, whether the file has one for all or a list."""
        value = self.metadata.get(f"{self.architecture}.{key}", 0)
        numbers = [int(number) for number in value if isinstance(number, int | float)] if isinstance(value, list) else []
        return (numbers + [0] * layers)[:layers] if isinstance(value, list) else [self.integer(key)] * layers


def read_header(path: Path) -> Header:
    """A file's header. Raises PlannerError for a file that is not GGUF, is damaged, or has a tensor of a type that is not known."""
    try:
        with path.open("rb") as stream:
            metadata, count = _metadata(stream)
            return Header(metadata, tuple(_tensor(stream) for _ in range(_bounded(count, MOST_ENTRIES))))
    except (ValueError, struct.error):
        raise PlannerError(f"{path} is not a GGUF file, or its header is damaged", "is the download complete?") from None
    except OSError as error:
        raise PlannerError(f"{path}: cannot be read ({error.strerror or error})") from None


def original(metadata: dict[str, object]) -> str:
    """The repository that a GGUF file was converted from, or else the model's name, as its metadata has them; empty without either."""
    url = str(metadata.get("general.base_model.0.repo_url", ""))
    name = url.removeprefix(HUB) if url.startswith(HUB) else str(metadata.get("general.name", ""))
    return printable(name)


def printable(text: str) -> str:
    """A stranger's text, safe for a terminal."""
    return "".join(character for character in text if character.isprintable())[:100]


def _metadata(stream: BinaryIO) -> tuple[dict[str, object], object]:
    if stream.read(4) != MAGIC or _scalar(stream, "I") not in (2, 3):
        raise ValueError
    tensors = _scalar(stream, "Q")
    entries = _bounded(_scalar(stream, "Q"), MOST_ENTRIES)
    return {_text(stream): _value(stream, _scalar(stream, "I")) for _ in range(entries)}, tensors


def _tensor(stream: BinaryIO) -> StoredTensor:
    name = _text(stream)
    shape = [_bounded(_scalar(stream, "Q"), 1 << 40) for _ in range(_bounded(_scalar(stream, "I"), MOST_DIMENSIONS))]
    kind, _ = _scalar(stream, "I"), _scalar(stream, "Q")  # the offset of its data is not needed
    if not isinstance(kind, int) or kind not in TYPE_NUMBERS:
        raise PlannerError(f"{printable(name)}: tensor type {kind} is not known here")
    return StoredTensor(name, tuple(reversed(shape)), TYPE_NUMBERS[kind])


def _value(stream: BinaryIO, kind: object) -> object:
    if kind == _STRING:
        return _text(stream)
    if kind != _ARRAY:
        return _scalar(stream, _format(kind))
    kind, count = _scalar(stream, "I"), _bounded(_scalar(stream, "Q"), MOST_ITEMS)
    if kind != _STRING:
        if count <= _KEPT_ITEMS:
            return [_scalar(stream, _format(kind)) for _ in range(count)]
        stream.seek(struct.calcsize(_format(kind)) * count, 1)
        return None
    for _ in range(count):
        stream.seek(_bounded(_scalar(stream, "Q"), MOST_TEXT_BYTES), 1)
    return None


def _format(kind: object) -> str:
    if not isinstance(kind, int) or kind not in _SCALARS:
        raise ValueError
    return _SCALARS[kind]


def _scalar(stream: BinaryIO, form: str) -> object:
    value: object = struct.unpack(f"<{form}", stream.read(struct.calcsize(f"<{form}")))[0]
    return value


def _text(stream: BinaryIO) -> str:
    return stream.read(_bounded(_scalar(stream, "Q"), MOST_TEXT_BYTES)).decode("utf-8", "replace")


def _bounded(value: object, most: int) -> int:
    if not isinstance(value, int) or value > most:
        raise ValueError
    return value
