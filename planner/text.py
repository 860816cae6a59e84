"""Texts of strangers: what may go into a script, a configuration file or a terminal."""

from __future__ import annotations

import re
import unicodedata

_NOT_IN_A_LINE = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")  # controls, marks that turn the direction of writing, ends of lines, no characters


def is_line(text: str) -> bool:
    """Whether a text is one line that shows all it holds."""
    return text.isprintable() or not any(unicodedata.category(character) in _NOT_IN_A_LINE for character in text)


def shown(text: str, most: int = 60) -> str:
    """The beginning of a text, safe for a terminal."""
    return "".join(character if is_line(character) else "?" for character in text[:most])


def slug(name: str) -> str:
    """A name safe in paths, YAML and shell: lower case letters, digits, dots and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "model"
