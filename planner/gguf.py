"""What a GGUF file says of itself: the metadata of its header (github.com/ggml-org/ggml, docs/gguf.md, versions 2 and 3), never a tensor."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from planner.errors import PlannerError

MAGIC = b"GGUF"
MOST_ENTRIES, MOST_ITEMS, MOST_TEXT_BYTES = 10_000, 10_000_000, 1 << 24  # far above any real file; a damaged one stops here
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
HUB = "https://huggingface.co/"


def read_metadata(path: Path) -> dict[str, object]:
    """The header's keys and values; arrays (the vocabulary, mostly) are passed over. Raises PlannerError for a file that is not GGUF."""
    try:
        with path.open("rb") as stream:
            return _metadata(stream)
    except (ValueError, struct.error):
        raise PlannerError(f"{path} is not a GGUF file, or its header is damaged", "is the download complete?") from None
    except OSError as error:
        raise PlannerError(f"{path}: cannot be read ({error.strerror or error})") from None


def original(metadata: dict[str, object]) -> str:
    """The repository that a GGUF file was converted from, or else the model's name, as its metadata has them; empty without either."""
    url = str(metadata.get("general.base_model.0.repo_url", ""))
    name = url.removeprefix(HUB) if url.startswith(HUB) else str(metadata.get("general.name", ""))
    return "".join(character for character in name if character.isprintable())[:100]  # a stranger's text goes to a terminal


def _metadata(stream: BinaryIO) -> dict[str, object]:
    if stream.read(4) != MAGIC or _scalar(stream, "I") not in (2, 3):
        raise ValueError
    _scalar(stream, "Q")  # number of tensors
    entries = _bounded(_scalar(stream, "Q"), MOST_ENTRIES)
    return {_text(stream): _value(stream, _scalar(stream, "I")) for _ in range(entries)}


def _value(stream: BinaryIO, kind: object) -> object:
    if kind == _STRING:
        return _text(stream)
    if kind != _ARRAY:
        return _scalar(stream, _format(kind))
    kind, count = _scalar(stream, "I"), _bounded(_scalar(stream, "Q"), MOST_ITEMS)
    if kind != _STRING:
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
    value: object = struct.unpack(f"<{form}", stream.read(struct.calcsize(form)))[0]
    return value


def _text(stream: BinaryIO) -> str:
    return stream.read(_bounded(_scalar(stream, "Q"), MOST_TEXT_BYTES)).decode("utf-8", "replace")


def _bounded(value: object, most: int) -> int:
    if not isinstance(value, int) or value > most:
        raise ValueError
    return value
