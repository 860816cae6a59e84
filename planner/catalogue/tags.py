"""Tags of Ollama's library: one that the catalogue has says what its model is, one with another format behind it is that model in that format."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from planner.catalogue.load import Entry
from planner.catalogue.names import model_key

_MIX = r"-(q\d(?:[-_]k)?(?:[-_][slm01])?|fp16|f16|bf16|qat)\Z"
_FORMATS = {"fp16": "F16", "qat": "Q4_0"}  # trained for the latter (ollama.com/library/gemma3)
# What stands between a size and a format and does not change what a model is made of: how it was trained, its month, the share that is active.
_SAME = re.compile(r"instruct|it|text|chat|thinking|a\d+b|\d{4}|v\d[\d.]*")


def retagged(name: str, known: Callable[[str], Entry | None]) -> Entry | None:
    """The model of a tag such as qwen3:8b-q8_0 or llama3.1:8b-instruct-q4_K_M; None where its family and size are not known, or it is another model."""
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", name.strip()):
        return None
    family, _, tag = model_key(name).partition(":")
    match = re.search(_MIX, tag)
    words = (tag[: match.start()] if match else tag).split("-")
    for count in range(len(words), 0, -1):
        entry = known(f"{family}:{'-'.join(words[:count])}")
        if entry is None:
            continue
        if entry.variant.is_checkpoint or not all(map(_SAME.fullmatch, words[count:])):
            return None
        mix = match[1].replace("-", "_") if match else ""
        form = _FORMATS.get(mix, mix.upper()) if mix else entry.variant.format
        variant = replace(entry.variant, name=f"{entry.variant.runtime}-{form}", repo=name.strip(), aliases=[], format=form, typed=True)
        return Entry(entry.row, variant, tag=name.strip())
    return None
