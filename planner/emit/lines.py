"""Text that every emitter needs: comments on one line, a command with one flag a line."""

from __future__ import annotations

import shlex


def comment(text: str) -> str:
    """Text that is safe behind a comment sign: on one line."""
    return " ".join(text.split())


def argument_lines(words: tuple[str, ...]) -> list[str]:
    """A command for the shell, one flag and its value a line."""
    lines = [" ".join(shlex.quote(word) for word in words[:1])]
    for word in words[1:]:
        if word.startswith("-"):
            lines.append(shlex.quote(word))
        else:
            lines[-1] += " " + shlex.quote(word)
    return lines
