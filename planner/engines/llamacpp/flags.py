"""The flags of llama-server and llama-cli, from a table taken from llama.cpp itself (benchmarks/llamacpp_flags.py), and how it reads them."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files

from planner.engines.llamacpp.plan import LLAMA_CPP_VERSION
from planner.engines.words import Entry, Grammar

# What to use now: flags that common/arg.cpp had in 2025 and no longer has.
_GONE = {
    "--no-mmap": "--load-mode none",
    "--mmap": "--load-mode mmap",
    "--mlock": "--load-mode mlock",
    "--direct-io": "--load-mode dio",
    "-dio": "--load-mode dio",
    "--dump-kv-cache": "nothing: it is gone",
    "-dkvc": "nothing: it is gone",
    "--infill": "the /infill route",
    "--lookup-cache": "--lookup-cache-static",
}
_ALWAYS = "nothing: llama-cli always holds a conversation (llama-completion does not)"
_GONE_OF_CLI = _GONE | {
    "--conversation": _ALWAYS,
    "-cnv": _ALWAYS,
    "--no-conversation": "llama-completion in place of llama-cli",
    "-no-cnv": "llama-completion in place of llama-cli",
    "--interactive": _ALWAYS,
    "-i": _ALWAYS,
    "--interactive-first": _ALWAYS,
    "-if": _ALWAYS,
}
SERVER, CLI = "llama-server", "llama-cli"


@cache
def grammar(program: str = SERVER) -> Grammar:
    """How llama-server, or llama-cli, reads its words (common/arg.cpp common_params_parse_ex)."""
    read = json.loads(files("planner.engines.llamacpp").joinpath("flags.json").read_text("utf-8"))
    table: dict[str, Entry] = read["flags"]
    if program == CLI:
        table = {flag: entry for flag, entry in table.items() if flag not in read["server_only"]} | read["cli"]
    truth = ["on", "enabled", "true", "1", "off", "disabled", "false", "0", "auto", "-1"]  # common_arg_utils is_truthy, is_falsey, is_autoy
    for entry in table.values():
        if set(entry.get("choices", ())) <= {"on", "off", "auto"}:
            entry["reads_also"] = truth
    title = CLI if program == CLI else "llama.cpp"
    return Grammar(program=title, release=LLAMA_CPP_VERSION, table=table, is_argparse=False, gone=_GONE_OF_CLI if program == CLI else _GONE)


def stoi(text: str) -> int:
    """A whole number as C++ reads it: what follows the digits is passed over, so that 32k is 32. Raises ValueError where it begins with none."""
    if not (match := re.match(r"\s*([-+]?\d+)", text)):
        raise ValueError(text)
    return int(match[1])
