"""What a row of each catalogue is. Plain dataclasses; `validation.py` lets pydantic guard them, `schema.py` their JSON Schema."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

from planner.architecture import Config, build_model
from planner.facts.deployment import Sampling
from planner.facts.hardware import GpuSpec
from planner.facts.model import ChatFormat, ModelSpec
from planner.facts.variant import _STRICT, Variant
from planner.units import GIB, MIB


@dataclass(frozen=True, kw_only=True)
class Pcie:
    """The PCIe slot of a card."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    generation: int
    lanes: int
    gb_per_s: float
    """One direction, from the line rate."""


@dataclass(frozen=True, kw_only=True)
class GpuRow:
    """One GPU."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    name: str
    title: str
    vendor: Literal["nvidia", "amd", "apple"]
    aliases: list[str] = field(default_factory=list)
    memory_mib: int
    """What the driver reports."""
    memory_options_gb: list[int] = field(default_factory=list)
    cuda_total_gib: float | None = None
    """What CUDA sees on Linux; the lowest observed."""
    cuda_total_estimated: bool = False
    wsl2_total_gib: float | None = None
    free_at_start_gib: float | None = None
    wsl2_free_at_start_gib: float | None = None
    compute_capability: str | None = None
    bandwidth_gb_per_s: float
    dense_tflops: dict[Literal["bf16", "fp8", "fp4", "int8"], float] = field(default_factory=dict)
    pcie: Pcie | None = None
    nvlink_gb_per_s: float | None = None
    """Both directions together, all links (NVLink, or Infinity Fabric)."""
    power_w: int | None = None
    unified_memory: bool = False
    sources: dict[str, str]
    checked: str

    def spec(self) -> GpuSpec:
        """The facts in bytes."""
        major, _, minor = (self.compute_capability or "").partition(".")
        memory = self.memory_mib * MIB
        return GpuSpec(
            name=self.name,
            title=self.title,
            vendor=self.vendor,
            memory_bytes=memory,
            cuda_total_bytes=_gib(self.cuda_total_gib) or memory,
            wsl2_total_bytes=_gib(self.wsl2_total_gib),
            free_at_start_bytes=_gib(self.free_at_start_gib),
            wsl2_free_at_start_bytes=_gib(self.wsl2_free_at_start_gib),
            compute_capability=(int(major), int(minor)) if minor else None,
            bandwidth_bytes_per_s=int(self.bandwidth_gb_per_s * 1e9),
            dense_flops=tuple((dtype, int(value * 1e12)) for dtype, value in self.dense_tflops.items()),
            nvlink=self.nvlink_gb_per_s is not None and self.vendor == "nvidia",
            link_bytes_per_s=int(self._link_gb_per_s() * 1e9),
            power_w=self.power_w,
            unified_memory=self.unified_memory,
        )

    def _link_gb_per_s(self) -> float:
        if self.nvlink_gb_per_s is not None:
            return self.nvlink_gb_per_s / 2
        return self.pcie.gb_per_s if self.pcie else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelRow:
    """One model."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    name: str
    title: str
    family: str
    kind: Literal["chat", "vision", "embedding"]
    aliases: list[str] = field(default_factory=list)
    parameters: int
    """Parameters vLLM loads, computed from the architecture."""
    released: str
    """Month in which its makers published the weights, 2025-04."""
    released_at_least: bool = False
    """The month is not known; `released` is that of the model before it in its line."""
    tool_parser: str | None = None
    """vLLM's --tool-call-parser for its chat template; without one it is not offered for agents."""
    reasoning_parser: str | None = None
    """vLLM's --reasoning-parser, where the model reasons before it answers."""
    tokenizer_mode: str | None = None
    """vLLM's --tokenizer-mode, where the checkpoint holds no chat template of its own."""
    content_format: Literal["string", "openai"] | None = None
    """vLLM's --chat-template-content-format, where what vLLM detects is not what the template takes."""
    remote_code: bool = False
    """Its repository brings the tokenizer as Python code, which vLLM runs with --trust-remote-code only."""
    example_template: str | None = None
    """The chat template of vLLM's examples folder that its documentation serves this model with; no wheel holds it."""
    made_for_code: bool = False
    sources: list[str]
    checked: str
    variants: list[Variant]
    config: dict[str, Any]
    """The keys of config.json that decide sizes."""
    sampling: Sampling | None = None
    """What its makers recommend, and where they say so."""

    def spec(self, variant: Variant, online: str | None = None) -> ModelSpec:
        """The model as this variant stores it, or as vLLM does that quantizes it while loading; built once."""
        key = (variant.name, json.dumps(variant.quantization, sort_keys=True), online)
        if key not in self._built:
            config = {**self.config, "quantization_config": variant.quantization} if variant.quantization else self.config
            built = build_model(Config(config, f"models.yaml: {self.name}"), self.name, online=online)
            self._built[key] = replace(built, chat=self.chat(variant))
        return self._built[key]

    def chat(self, variant: Variant) -> ChatFormat:
        """How this variant writes tool calls and reasoning; a base model writes neither."""
        if self.kind == "embedding" or variant.name == "base":
            return ChatFormat()
        return ChatFormat(
            tool_parser=self.tool_parser,
            reasoning_parser=variant.reasoning_parser or self.reasoning_parser,
            tokenizer_mode=self.tokenizer_mode,
            content_format=self.content_format,
            mistral_files=variant.mistral_files,
            remote_code=self.remote_code,
            example_template=self.example_template,
        )

    @cached_property
    def _built(self) -> dict[tuple[str, str, str | None], ModelSpec]:
        return {}


@dataclass(frozen=True, kw_only=True)
class PriceRow:
    """What one GPU costs: to rent for an hour, or to buy."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT | {"strict": False}
    gpu: str
    rent_per_hour: float | None = None
    buy: float | None = None
    at: str = ""
    """Who asks this price."""
    source: str = ""
    date: str = ""


@dataclass(frozen=True, kw_only=True)
class PriceFile:
    """Prices in one currency, what a unit of it is worth in US dollars where it is another one, and what a kilowatt hour costs in it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT | {"strict": False}
    currency: str
    in_usd: float | None = None
    per_kwh: float | None = None
    prices: list[PriceRow] = field(default_factory=list)


def _gib(value: float | None) -> int | None:
    return None if value is None else int(value * GIB)
