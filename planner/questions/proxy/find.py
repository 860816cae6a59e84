"""Where a text starts LiteLLM, or is its configuration."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePath

from planner.facts.record import dataclass

_CONFIG = re.compile(r"(?m)^model_list\s*:")
_STARTS = re.compile(r"(?m)^(?P<before>[^\n#]*?)(?<![\w./:-])(?:[\w./-]*/)?litellm(?:\.exe)?(?P<words>\s+-[^\n]*)$")
_IMAGE = re.compile(r"\bberriai/litellm(?:-\w+)?(?::[\w.-]+)?")
_FILE = re.compile(r"(?:--config|-c)[\s=\"',\]\[]+([\w./${}~-]+\.ya?ml)")
_KEY = re.compile(r"\bLITELLM_MASTER_KEY\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyStart:
    """How a text starts LiteLLM: by a configuration's file, or with flags only."""

    config: str = ""
    """The file's name, without its folder; empty where the text is the configuration, or flags say all."""
    words: tuple[str, ...] = ()
    sets_key: bool | None = None
    """Whether the text sets the master key in the environment; None where it starts nothing, so that this is not to be seen."""


def is_config(text: str) -> bool:
    """Whether a text is LiteLLM's configuration."""
    return bool(_CONFIG.search(text)) and not re.search(r"(?m)^apiVersion:", text)


def find_start(text: str) -> ProxyStart | None:
    """Where a script, unit, compose file or manifest starts LiteLLM; None where it does not."""
    joined = re.sub(r"\\\r?\n", " ", text)
    sets_key = bool(_KEY.search(text))
    if match := _STARTS.search(joined):
        try:
            words = shlex.split(match["words"], comments=True)
        except ValueError:
            words = match["words"].split()
        file = _FILE.search(match["words"])
        return ProxyStart(config=PurePath(file[1]).name if file else "", words=tuple(words), sets_key=sets_key)
    if match := _IMAGE.search(joined):
        file = _FILE.search(joined, match.start())
        return ProxyStart(config=PurePath(file[1]).name if file else "", sets_key=sets_key)
    return None
