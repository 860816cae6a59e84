"""How an option of the command line is spelled."""

from __future__ import annotations

AUTO, ANY = "auto", "any"  # as --gpu: what this machine has; left open
_FLAGS = {  # of options whose flag is not their name
    "answer": "--answer",
    "as_json": "--json",
    "beside": "--with",
    "host_kind": "--host",
    "own_gpus": "--gpus",
    "own_models": "--models",
    "prompt": "--input",
    "purpose": "--for",
    "stack_file": "-f",
    "style": "--format",
}


def flag_of(name: str) -> str:
    """The flag of an option by its name: `host_kind` is `--host`, `max_model_len` is `--max-model-len`."""
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")
