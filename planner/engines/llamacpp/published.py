"""GGUF files of the Hub that are known to be there, by the repository that they were made of (published.json)."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from itertools import chain

from planner.engines.llamacpp.dynamic import name_of


@cache
def _repositories(part: str = "repositories") -> dict[str, tuple[str, tuple[str, ...]]]:
    """The GGUF repository of each model's, and its quantizations, the most usual first; `others`: of mixes that llama.cpp does not make."""
    rows = json.loads(files("planner.engines.llamacpp").joinpath("published.json").read_text("utf-8"))[part]
    return {repo: (row["repo"], tuple(row["forms"])) for repo, row in rows.items()}


def usual_form(repo: str) -> str:
    """The quantization that a model is published in; empty where none is known to be."""
    _, forms = _repositories().get(repo, ("", ("",)))
    return forms[0]


def on_the_hub(repo: str, mix: str) -> str:
    """What `--hf-repo` takes for a quantization of a model, `owner/name:mix`; empty where it is not known to be there."""
    gguf, forms = _repositories("others" if name_of(mix) else "repositories").get(repo, ("", ()))
    if mix not in forms:
        return ""
    return gguf if len(forms) == 1 and mix.startswith("MXFP4") else f"{gguf}:{mix}"  # a file in the makers' own format has no other beside it


def original(gguf: str) -> str:
    """The repository that a known GGUF repository was made of; empty for another."""
    known = chain(_repositories().items(), _repositories("others").items())
    return next((repo for repo, (name, _) in known if name.lower() == gguf.lower()), "")
