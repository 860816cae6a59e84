"""Where the user's own files lie: ~/.config/plan/ or $XDG_CONFIG_HOME/plan/."""

from __future__ import annotations

import os
from pathlib import Path

_OLD_FOLDER = "serve-plan"  # of versions before config.toml


def user_file(name: str) -> Path:
    """Where a file of the user's lies; one that an earlier version left in its folder is still read and written there."""
    home = os.environ.get("XDG_CONFIG_HOME")
    folder = Path(home) if home else Path.home() / ".config"
    new, old = folder / "plan" / name, folder / _OLD_FOLDER / name
    return old if old.exists() and not new.exists() else new


def config_file() -> Path:
    """Where config.toml lies."""
    return user_file("config.toml")
