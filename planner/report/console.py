"""The console that reports are printed to: as wide as the terminal, or wide enough for whole tables where nobody looks at one."""

from __future__ import annotations

import sys

from rich.console import Console

PIPED_WIDTH = 160


def console() -> Console:
    """Standard output; plain where it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
