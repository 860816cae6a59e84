"""YAML that people write, read strictly: equal keys (PyYAML would silently keep the last), anchors and large files are refused, with file and line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from planner.errors import PlannerError


class _Loader(yaml.CSafeLoader):
    """Refuses equal keys."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[object] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key is no text", key.start_mark)
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} appears twice", key.start_mark)
        seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path, most_bytes: int) -> Any:
    """The document of a file. Raises PlannerError for equal keys, anchors (a few lines of them expand to gigabytes) and what is larger."""
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


def line_of(path: Path, location: Sequence[int | str]) -> int:
    """The line of a value in a file that was read; of what holds it, where the value itself is missing."""
    node: Any = yaml.compose(path.read_text("utf-8"), Loader=yaml.CSafeLoader)
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
