"""The command line that asks a question: what was typed, with some of it changed. Every hint and every alternative is written by this."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from planner.engines.vllm.settings import PINS
from planner.facts.command_line import flag_of
from planner.facts.settings import Kind, by_name
from planner.questions.fields import FIELDS
from planner.units import GIB, MIB

_PINNED = (*FIELDS.values(), *PINS)
SETTINGS = by_name(_PINNED)
"""What a question may say beside names, by the names that it says them by."""
_TOKENS = frozenset(setting.name for setting in _PINNED if setting.kind is Kind.TOKENS)  # 131072 is written 128k
_SIZES = frozenset(setting.name for setting in _PINNED if setting.kind is Kind.BYTES)  # 68719476736 is written 64GiB
_SWITCHES = frozenset(
    {"open", "save_calibration", *(setting.name for setting in _PINNED if setting.kind is Kind.SWITCH and setting.unpinned is None)}
)  # False is said too


def command_line(given: Mapping[str, object], changed: Mapping[str, object] | None = None, *, command: str = "", arguments: Sequence[str] = ()) -> str:
    """The words to type: `plan`, a further command's name, what was given with what is changed, quoted for a shell.

    Names are those of the options (`count`, `beside`, `max_model_len`), values what was typed or what it was read as. A changed option stays where it
    stood, a new one goes last; None takes one away, as False does with a flag; several values (of --with) repeat the flag.
    """
    words = ["plan", *([command] if command else [])]
    for name, value in {**given, **(changed or {})}.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            words += _option(name, item)
    return shlex.join([*words, *arguments])


def _option(name: str, value: object) -> list[str]:
    if value is None or (value is False and name not in _SWITCHES):
        return []
    flag = flag_of(name)
    if value is True:
        return [flag]
    if value is False:
        return [flag.replace("--", "--no-", 1)]
    if name in _TOKENS and isinstance(value, int) and value % 1024 == 0:
        return [flag, f"{value // 1024}k"]
    if name in _SIZES and isinstance(value, int) and value % MIB == 0:
        return [flag, f"{value // GIB}GiB" if value % GIB == 0 else f"{value // MIB}MiB"]
    return [flag, str(value)]
