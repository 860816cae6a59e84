"""The main memory of this machine."""

from __future__ import annotations

import os


def main_memory_bytes() -> int:
    """All of it, as the system counts it; 0 where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not POSIX, or a system that does not know
        return 0
