"""Answers every name with a mock; nothing of it is ever called."""

from unittest.mock import MagicMock

__version__ = "0.28.0"


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return MagicMock(name=name)
