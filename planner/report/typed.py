"""`TypedDict` for the contract. pydantic reads the one of typing_extensions before Python 3.12; only the schemas ask pydantic, so only they import it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or (sys.version_info < (3, 12) and "pydantic" in sys.modules):
    from typing import NotRequired

    from typing_extensions import TypedDict
else:
    from typing import NotRequired, TypedDict

__all__ = ["NotRequired", "TypedDict"]
