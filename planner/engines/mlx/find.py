"""Where the words of a command line start a server of mlx-lm or mlx-vlm."""

from __future__ import annotations

from collections.abc import Sequence

ALONE = ("mlx_lm.generate", "mlx_lm.chat", "mlx_vlm.generate", "mlx_vlm.chat")
"""Programs of one conversation, which load a model as the server does."""
SERVERS = ("mlx_lm.server", "mlx_vlm.server", *ALONE)


def server_of(words: Sequence[str]) -> tuple[str, Sequence[str]] | None:
    """The server and the words after it: `mlx_lm.server`, `python -m mlx_lm.server`, `mlx_lm server`, `python -m mlx_lm server`; None for another command."""
    for index, word in enumerate(words):
        name = word.rpartition("/")[2]
        if name in SERVERS:
            return name, words[index + 1 :]
        if words[index + 1 : index + 2] and f"{name}.{words[index + 1]}" in SERVERS:
            return f"{name}.{words[index + 1]}", words[index + 2 :]
    return None
