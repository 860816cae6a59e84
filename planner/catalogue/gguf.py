"""What a GGUF file says of itself: metadata and tensors of its header (github.com/ggml-org/ggml, docs/gguf.md, versions 2 and 3), never a weight."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from planner.catalogue.shards import FETCH, POINTER, refuse_missing, shards
from planner.engines.llamacpp.ggml import TYPE_NUMBERS, TYPES
from planner.engines.llamacpp.header import Header, StoredTensor, _numbers
from planner.errors import FileError, PlannerError
from planner.reader import is_pointer, open_file
from planner.units import round_up

MAGIC = b"GGUF"
MOST_ENTRIES, MOST_ITEMS, MOST_TEXT_BYTES = 100_000, 10_000_000, 1 << 24  # far above any real file; a damaged one stops here
MOST_DIMENSIONS = 4
ALIGNMENT = 32  # of the data, where general.alignment says nothing else
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_KEPT_ITEMS = 4096  # arrays of that many numbers are read: values by layer; a vocabulary is passed over
HUB = "https://huggingface.co/"


def read_header(path: Path) -> Header:
    """A file's header. Raises PlannerError for a file that is not GGUF, is damaged, or has a tensor of a type that is not known."""
    try:
        with open_file(path) as stream:
            if is_pointer(stream.read(40)):
                raise FileError(path, POINTER, FETCH)
            stream.seek(0)
            metadata, count = _metadata(stream)
            tensors = tuple(_tensor(stream) for _ in range(_bounded(count, MOST_ENTRIES)))
            alignment = next(iter(_numbers(metadata.get("general.alignment"))), ALIGNMENT) or ALIGNMENT
            return Header(metadata, tensors, round_up(stream.tell(), alignment))
    except (ValueError, struct.error):
        raise PlannerError(f"{path} is not a GGUF file, or its header is damaged", "is the download complete?") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or error})") from None


def read_whole(path: Path) -> Header:
    """A model of one file or several (NAME-00001-of-00003.gguf is the first of three). Raises PlannerError where it is not whole."""
    if not path.is_file():
        raise PlannerError(f"{path} is not a file")
    header = read_header(path)
    count = next(iter(_numbers(header.metadata.get("split.count"))), 1)
    parts = sorted(shards([path.name])) or [path.name]
    if count > 1 and len(parts) != count:
        raise PlannerError(f"{path} is part of {count} files, and the others are found by names like NAME-00001-of-{count:05}.gguf")
    if parts[0] != path.name:
        raise PlannerError(f"{path} is not the first of its {len(parts)} files", f"--model {path.with_name(parts[0])}")
    refuse_missing(path.parent, parts, {name for name in parts if path.with_name(name).exists()})
    headers = [header, *(read_header(path.with_name(name)) for name in parts[1:])]
    for name, part in zip(parts, headers, strict=True):
        if (short := part.file_bytes - path.with_name(name).stat().st_size) > 0:
            raise PlannerError(f"{path.with_name(name)} is not whole: {short:,} of {part.file_bytes:,} bytes are missing", "finish the download")
    return Header(header.metadata, tuple(tensor for part in headers for tensor in part.tensors))


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
    kind, offset = _scalar(stream, "I"), _bounded(_scalar(stream, "Q"), 1 << 50)
    if not isinstance(kind, int) or kind not in TYPE_NUMBERS:
        raise PlannerError(f"{printable(name)}: tensor type {kind} is not known here")
    if not shape or shape[0] % TYPES[TYPE_NUMBERS[kind]][0]:
        raise ValueError  # rows are of whole blocks
    return StoredTensor(name, tuple(reversed(shape)), TYPE_NUMBERS[kind], offset)


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
