"""Where the words of a command line start llama-server or llama-cli, or Ollama, or name a model to a running Ollama."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SERVER = re.compile(r"(?:.*[/\\])?llama-(?:server|cli)(?:\.exe)?$")
_LLAMA = re.compile(r"(?:.*[/\\])?llama(?:\.exe)?$")  # the one program of newer builds: llama serve
_IMAGE = re.compile(r"(?:ghcr\.io/)?(?:ggml-org|ggerganov)/llama\.cpp:server[\w.-]*$")
_OLLAMA = re.compile(r"(?:.*[/\\])?ollama(?:\.exe)?$")
_OLLAMA_IMAGE = re.compile(r"(?:docker\.io/)?ollama/ollama(?::[\w.-]+)?$")
MAKING = "create"
SERVING, NAMING = ("serve", "start"), ("run", "pull", MAKING)  # commands of Ollama that start the server, and that name a model to it


def server_arguments(words: Sequence[str]) -> Sequence[str] | None:
    """The words after `llama-server`, `llama-cli` or the server's image; None for another command."""
    for index, word in enumerate(words):
        if _SERVER.match(word):
            return words[index + 1 :]
        if _LLAMA.match(word) and words[index + 1 : index + 2] in (["serve"], ["server"], ["cli"]):
            return words[index + 2 :]
        if _IMAGE.match(word) and _is_run(words[:index]):
            return words[index + 1 :]
    return None


def ollama_arguments(words: Sequence[str]) -> Sequence[str] | None:
    """The words after `ollama` where they start the server or name it a model, or those after its image; None for another command."""
    for index, word in enumerate(words):
        if _OLLAMA.match(word) and index + 1 < len(words) and words[index + 1] in (*SERVING, *NAMING):
            return words[index + 1 :]
        if _OLLAMA_IMAGE.match(word) and _is_run(words[:index]):
            return words[index + 1 :]
    return None


def _is_run(before: Sequence[str]) -> bool:
    return any(part in ("run", "create") for part in before)
