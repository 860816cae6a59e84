"""A command's arguments as the rules of vLLM's configuration classes ask for them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.versions import VERSIONS
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass

Refused = Iterator[tuple[str, str]]
"""What is refused in vLLM's words, and what mends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineArgs:
    """What a command says, as vLLM's EngineArgs holds it, on a GPU."""

    config: ServeConfig
    values: Mapping[str, str | bool]
    model: ModelSpec
    env: Mapping[str, str]
    gpu: GpuSpec

    @property
    def minor(self) -> int:
        """The release."""
        return VERSIONS[self.config.vllm_version].minor

    @property
    def takes_pictures(self) -> bool:
        """Whether it is a model of more than text; one that is served without its towers is one too, and not asked here."""
        return bool(self.model.tower) or self.model.vision is not None

    @property
    def captures(self) -> bool:
        """Whether CUDA graphs are captured."""
        return not self.config.enforce_eager and str(self.key("--compilation-config", "cudagraph_mode") or "").upper() != "NONE"

    def key(self, flag: str, name: str) -> object:
        """A key of an object that a flag takes; None where it is not said."""
        try:
            data = json.loads(str(self.values.get(flag, "{}")))
        except (ValueError, RecursionError):
            return None
        return data.get(name) if isinstance(data, dict) else None

    def number(self, flag: str) -> int | None:
        """A whole number that a flag says."""
        text = str(self.values.get(flag, ""))
        return int(text) if re.fullmatch(r"-?\d{1,12}", text) else None
