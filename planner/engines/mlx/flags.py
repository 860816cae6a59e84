"""The flags of mlx-lm's programs and of mlx-vlm's, from tables taken from them (benchmarks/mlx_flags.py)."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from planner.engines.mlx.find import SERVERS
from planner.engines.mlx.plan import VERSIONS
from planner.engines.words import Entry, Grammar

_PACKAGES = {name: "mlx-vlm" if name.startswith("mlx_vlm") else "mlx-lm" for name in SERVERS}


@cache
def grammar(server: str) -> Grammar:
    """How a server reads its words: argparse."""
    table: dict[str, Entry] = json.loads(files("planner.engines.mlx").joinpath("flags.json").read_text("utf-8"))[server]["flags"]
    return Grammar(program=server, release=VERSIONS[_PACKAGES[server]], table=table, is_argparse=True)


def known_flags() -> frozenset[str]:
    """The flags of all."""
    return frozenset(spelling for server in _PACKAGES for spelling in grammar(server).spellings)
