"""Where the words of a command line start a vLLM server: its program, its module, its image."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MODULE = "vllm.entrypoints.openai.api_server"
_IMAGE = re.compile(r"(?:[\w.-]+/)*vllm(?:/vllm)?-openai(?::v?[\w.-]+)?$")


def server_arguments(words: Sequence[str]) -> Sequence[str] | None:
    """The words after `vllm serve`, or those of the module form or of a container; None for another command."""
    for index, word in enumerate(words):
        if word.rpartition("/")[2] == "vllm" and words[index + 1 : index + 2] == ["serve"]:
            return words[index + 2 :]
        if word == "-m" and words[index + 1 : index + 2] == [_MODULE]:
            return words[index + 2 :]
        if _IMAGE.match(word) and any(part in ("run", "create") for part in words[:index]):
            return words[index + 1 :]
    return None
