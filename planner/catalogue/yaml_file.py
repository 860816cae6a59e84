"""YAML that people write, read strictly: equal keys (PyYAML would silently keep the last), anchors and large files are refused, with file and line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from planner import reader
from planner.errors import FileError

MOST_BYTES = 16 * 1024 * 1024


if TYPE_CHECKING:
    _Plain = yaml.SafeLoader
else:
    _Plain = reader.safe_loader()


class _Loader(_Plain):
    """Refuses equal keys."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[object] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key is no text", key.start_mark)
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key.value[:60]!r} appears twice", key.start_mark)
        seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path, most_bytes: int) -> Any:
    """The document of a file. Raises FileError for equal keys, anchors (a few lines of them expand to gigabytes) and what is larger."""
    documents = reader.parse_yaml(reader.read_text(path, most_bytes), path, loader=_Loader, anchors=False)
    if len(documents) > 1:
        raise FileError(path, f"{len(documents)} documents; expected one")
    return documents[0] if documents else None


def line_of(path: Path, location: Sequence[int | str]) -> int:
    """The line of a value in a file that was read; of what holds it, where the value itself is missing."""
    node: Any = yaml.compose(reader.read_text(path, MOST_BYTES), Loader=reader.safe_loader())
    line: int = node.start_mark.line
    for part in location:
        if isinstance(node, yaml.MappingNode):
            children: dict[Any, Any] = {key.value: (key, value) for key, value in node.value}
        elif isinstance(node, yaml.SequenceNode):
            children = dict(enumerate((value, value) for value in node.value))
        else:
            break
        if part not in children:
            break
        key, node = children[part]
        line = key.start_mark.line
    return line + 1
