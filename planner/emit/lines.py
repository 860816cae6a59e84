"""Text that every emitter needs: a command with one flag a line, YAML, templates."""

from __future__ import annotations

import re
import shlex
from itertools import chain, repeat
from pathlib import Path

_SHORT = 100  # characters of a key or a text that stays on its line
_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")  # what YAML 1.1 reads as something else


def argument_lines(words: tuple[str, ...]) -> list[str]:
    """A command for the shell, one flag and its value a line."""
    lines = [" ".join(shlex.quote(word) for word in words[:1])]
    for word in words[1:]:
        if word.startswith("-"):
            lines.append(shlex.quote(word))
        else:
            lines[-1] += " " + shlex.quote(word)
    return lines


def yaml_text(document: object) -> str:
    """A document in YAML, its keys in their order, a long text on its line; what stands twice is written twice: nobody reads anchors.

    Where no text needs quotes it is written here, as PyYAML would (tests/emit: the same for any document): importing that takes longer than planning.
    """
    try:
        return "".join(f"{line}\n" for line in _yaml_lines(document)) if isinstance(document, dict) else _any_yaml(document)
    except _NotPlainError:
        return _any_yaml(document)


class _NotPlainError(Exception):
    """A value that only PyYAML writes."""


def _yaml_lines(node: object) -> list[str]:
    """The lines of a mapping, a list or a value."""
    if isinstance(node, dict) and node:
        return [line for key, value in node.items() for line in _entry(_scalar(key), value)]
    if isinstance(node, list) and node:
        return [mark + line for item in node for mark, line in zip(chain(("- ",), repeat("  ")), _yaml_lines(item), strict=False)]
    return [_scalar(node)]


def _entry(key: str, value: object) -> list[str]:
    if not isinstance(value, dict | list):
        return [f"{key}: {_scalar(value)}"]
    indent = "  " if isinstance(value, dict) else ""  # a list stands below its key, at the key's own place
    return [f"{key}:", *(indent + line for line in _yaml_lines(value))]


def _scalar(value: object) -> str:
    """A number, a switch, or a text that is no other value without quotes either."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if re.fullmatch(r"-?\d+\.\d+", repr(value)):
            return repr(value)
        case str() if re.fullmatch(r"[A-Za-z/](?:[\w./-]|:(?=[\w/]))*", value, re.ASCII) and len(value) < _SHORT and value.lower() not in _WORDS:
            return value
        case _:
            raise _NotPlainError


def _any_yaml(document: object) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    text: str = yaml.dump(document, Dumper=Dumper, sort_keys=False, width=1000)
    return text


def template(name: str) -> str:
    """A fixed text that lies beside the emitters."""
    return (Path(__file__).parent / "templates" / name).read_text("utf-8")
