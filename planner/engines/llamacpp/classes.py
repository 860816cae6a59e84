"""Which models llama.cpp reads: classes of a config.json that its converter knows (classes.json)."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from planner.engines.catalogue import Plain
from planner.engines.llamacpp.published import usual_form
from planner.errors import PlannerError

KNOWN_AT = "v0.5.0"
_WAYS = ("converted", "later", "by_hand")


@cache
def _classes() -> dict[str, frozenset[str]]:
    rows = json.loads(files("planner.engines.llamacpp").joinpath("classes.json").read_text("utf-8"))
    return {what: frozenset(rows[what]) for what in (*_WAYS, "diffusion")}


def check_that_it_is_read(plain: Plain) -> None:
    """Raise PlannerError where llama.cpp has no GGUF file of a model: nobody published one, and the converter does not know its class.

    The converter takes the class of the text's own config where there is one (conversion/base.py `get_model_architecture`).
    """
    classes, names = _classes(), {plain.spec.architecture, plain.text_architecture}
    instead = "another --engine, or a .gguf file that somebody made of it"
    if names & classes["diffusion"]:
        raise PlannerError(f"llama-server does not serve {plain.name}: a diffusion model answers in llama-diffusion-cli alone", instead)
    if usual_form(plain.repo) or plain.variant("ollama"):
        return
    if not any(names & classes[way] for way in _WAYS):
        raise PlannerError(f"llama.cpp {KNOWN_AT} makes no GGUF file of {plain.name}: its converter does not know {plain.spec.architecture}", instead)
