"""One repository or tag of a model."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

from planner.facts.model import CheckpointDifference
from planner.facts.record import dataclass

STRICT = {"extra": "forbid", "strict": True, "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One repository or tag of a model."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    name: str
    repo: str
    aliases: list[str] = field(default_factory=list)
    """What it is called beside its repository or tag: Ollama's `latest`, and longer spellings of a tag."""
    quantization: dict[str, object] = field(default_factory=dict)
    """Its quantization_config, as the checkpoint's config.json has it."""
    config: dict[str, object] = field(default_factory=dict)
    """Keys of its config.json that differ from the row's; those of a nested object take the place of the row's one by one."""
    checkpoint: CheckpointDifference | None = None
    """What its tensors hold, by the headers of its files, where that is not what the config gives."""
    typed: bool = False
    """How it is quantized was typed from public facts, which no published file or total confirms."""
    runtime: str = ""
    """The engine whose own format it has; without it a checkpoint as its makers store it."""
    format: str | None = None
    """MLX or GGUF quantization of a runtime's own format."""
    reasoning_parser: str | None = None
    """vLLM's --reasoning-parser where this checkpoint reasons and the row's does not."""
    mistral_files: bool = False
    """Served from Mistral's own files (params.json, tekken.json, consolidated weights), as its makers' command does."""
    is_base: bool = False
    """Trained to continue text and not to answer: it is offered to nobody who wants answers."""
    by_name_only: bool = False
    """A copy or a quantization by others, which people serve: it is planned where it is named, and offered to nobody beside the row's own."""
    default: bool = False

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is stored as its makers' checkpoints are."""
        return not self.runtime

    @property
    def is_listed(self) -> bool:
        """Whether it is a checkpoint that stands in lists, and not only behind its name."""
        return self.is_checkpoint and not self.by_name_only

    @property
    def is_the_model(self) -> bool:
        """Whether it is the row's model in one of its makers' forms, and neither the checkpoint that it was trained from nor a copy of others."""
        return self.default or not (self.is_base or self.by_name_only)
