"""Text that every emitter needs: a command with one flag a line, YAML, templates."""

from __future__ import annotations

import shlex
from pathlib import Path


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
    """A document in YAML, its keys in their order, a long text on its line; what stands twice is written twice: nobody reads anchors."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    text: str = yaml.dump(document, Dumper=Dumper, sort_keys=False, width=1000)
    return text


def template(name: str) -> str:
    """A fixed text that lies beside the emitters."""
    return (Path(__file__).parent / "templates" / name).read_text("utf-8")
