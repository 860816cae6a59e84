"""The console that reports are printed to: as wide as the terminal, or wide enough for whole tables where nobody looks at one."""

from __future__ import annotations

import sys

from rich.console import Console

PIPED_WIDTH = 160


def console(*, error: bool = False) -> Console:
    """Standard output, or standard error as its terminal is; plain where it is no terminal."""
    if error:
        return Console(stderr=True)
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
