"""What a row of each catalogue is, as the built JSON holds it. `written.py` adds what only the YAML holds, and lets pydantic guard it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field, replace
from functools import cached_property
from typing import ClassVar, Literal

from planner.architecture import Config, build_model
from planner.catalogue.data import RowData
from planner.facts.deployment import Sampling
from planner.facts.hardware import GpuSpec, MemoryType
from planner.facts.model import ChatFormat, ModelSpec
from planner.facts.record import dataclass
from planner.facts.variant import STRICT, Variant
from planner.units import GIB, MIB


@dataclass(frozen=True, kw_only=True)
class Pcie:
    """The PCIe slot of a card."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    generation: Literal[3, 4, 5]
    lanes: Literal[1, 2, 4, 8, 16]

    @property
    def gb_per_s(self) -> float:
        """One direction, in gigabytes a second to one decimal: 8, 16 or 32 GT/s a lane, of which 128 of 130 bits are data (PCI Express 3.0 to 5.0)."""
        return round((1 << self.generation) * self.lanes * 128 / 130 / 8, 1)


@dataclass(frozen=True, kw_only=True)
class GpuRow:
    """One GPU."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    name: str
    title: str
    vendor: Literal["nvidia", "amd", "apple", "intel"]
    aliases: list[str] = field(default_factory=list)
    shared_names: list[str] = field(default_factory=list)
    """What a driver calls it and cards with another memory alike; the memory that it reports tells them apart."""
    memory: MemoryType
    """What its memory is made of."""
    memory_mib: int
    """What the driver reports."""
    memory_options_gb: list[int] = field(default_factory=list)
    """The sizes it is sold with, where its name says none; one of them stands behind the name then."""
    cuda_total_gib: float | None = None
    """What CUDA sees on Linux; the lowest observed."""
    most_total_gib: float | None = None
    """The most, of a card whose error correction takes memory where its owner turned it on."""
    cuda_total_estimated: bool = False
    """Nobody measured that total; it follows from what other cards keep back."""
    wsl2_total_gib: float | None = None
    free_at_start_gib: float | None = None
    """The least that was seen; what is usually free, and the most, where the machine's own use of it varies."""
    most_free_gib: float | None = None
    wsl2_free_at_start_gib: float | None = None
    compute_capability: str | None = None
    multiprocessors: int = 0
    """How many it has; 0 where nothing that is asked depends on it."""
    gfx: str | None = None
    """An AMD GPU's instruction set, as ROCm names it."""
    bandwidth_gb_per_s: float
    dense_tflops: dict[Literal["bf16", "fp8", "fp4", "int8"], float] = field(default_factory=dict)
    pcie: Pcie | None = None
    nvlink_gb_per_s: float | None = None
    """Both directions together, all links (NVLink, or Infinity Fabric)."""
    power_w: int | None = None
    unified_memory: bool = False
    mobile: bool = False
    """Part of a laptop or a board: no card that one buys or rents by itself."""

    def spec(self) -> GpuSpec:
        """The facts in bytes; made once."""
        return self._spec

    def sized_spec(self, size_gb: int) -> GpuSpec:
        """The facts of the one that is sold with a memory of so many GB (of 1024 MiB)."""
        memory = size_gb * GIB
        return replace(self.spec(), name=f"{self.name}-{size_gb}gb", title=f"{self.title} {size_gb} GB", memory_bytes=memory, cuda_total_bytes=memory)

    @cached_property
    def _spec(self) -> GpuSpec:
        major, _, minor = (self.compute_capability or "").partition(".")
        memory = self.memory_mib * MIB
        return GpuSpec(
            name=self.name,
            title=self.title,
            vendor=self.vendor,
            memory_type=self.memory,
            gfx=self.gfx or "",
            memory_bytes=memory,
            cuda_total_bytes=_gib(self.cuda_total_gib) or memory,
            cuda_total_estimated=self.cuda_total_estimated,
            most_total_bytes=_gib(self.most_total_gib),
            wsl2_total_bytes=_gib(self.wsl2_total_gib),
            free_at_start_bytes=_gib(self.free_at_start_gib),
            most_free_bytes=_gib(self.most_free_gib),
            wsl2_free_at_start_bytes=_gib(self.wsl2_free_at_start_gib),
            compute_capability=(int(major), int(minor)) if minor else None,
            multiprocessors=self.multiprocessors,
            bandwidth_bytes_per_s=int(self.bandwidth_gb_per_s * 1e9),
            dense_flops=tuple((dtype, int(value * 1e12)) for dtype, value in self.dense_tflops.items()),
            nvlink=self.nvlink_gb_per_s is not None and self.vendor == "nvidia",
            link_bytes_per_s=int(self._link_gb_per_s() * 1e9),
            power_w=self.power_w,
            unified_memory=self.unified_memory,
            mobile=self.mobile,
        )

    def _link_gb_per_s(self) -> float:
        if self.nvlink_gb_per_s is not None:
            return self.nvlink_gb_per_s / 2
        return self.pcie.gb_per_s if self.pcie else 0.0


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How good a model is, as a public index measured it; figures are compared within an index only."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    index: str
    """The index and its edition, as planner/questions/indexes.json lists them."""
    value: float
    """More is better."""
    source: str
    """Where it was found, with the row's name there."""
    date: str
    """The day of the edition, or of the commit that it was read in."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelRow:
    """One model."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    name: str
    title: str
    family: str
    kind: Literal["chat", "vision", "embedding", "reranker", "speech", "drafter"]
    """What it is offered for; one that only listens, ranks passages, or drafts for another, is offered for nothing that is asked."""
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
    only_for: str = ""
    """The one task that it was trained for where that is none of the purposes (OCR, translation, moderation): it is not offered for others."""
    replaces: str = ""
    """The row of about its size that its makers published before it in the same line: what is measured of one says something of the other."""
    based_on: str = ""
    """The row whose weights others trained further: it counts as that one where nobody measured it."""
    quality: list[Quality] = field(default_factory=list)
    """What public indexes measured."""
    typed: bool = False
    """Its config was typed from public facts, which no second source confirms: a published total, a file's size, another copy."""
    variants: list[Variant]
    config: RowData
    """The keys of config.json that decide sizes."""
    sampling: Sampling | None = None
    """What its makers recommend, and where they say so."""

    @property
    def origin(self) -> str:
        """The file and row that a fault in its config is told of."""
        return f"models.yaml: {self.name}"

    @property
    def is_own(self) -> bool:
        """Whether it is a person's own and not the catalogue's."""
        return False

    def config_of(self, variant: Variant) -> RowData:
        """The keys of this variant's config.json that decide sizes: the row's, its own in their place, and how it is quantized where it says so."""
        own = merged(self.config, variant.config) if variant.config else self.config
        return own | {"quantization_config": variant.quantization} if variant.quantization and not self.hf_quant_of(variant) else own

    def hf_quant_of(self, variant: Variant) -> RowData | None:
        """ModelOpt's hf_quant_config.json of this variant, where that is what tells how it is quantized."""
        return variant.quantization if variant.quantization and "quantization" in variant.quantization else None

    def spec(self, variant: Variant, online: str | None = None) -> ModelSpec:
        """The model as this variant stores it, or as vLLM does that quantizes it while loading; built once."""
        key = (variant.name, json.dumps(variant.quantization, sort_keys=True), online)
        if key not in self._built:
            hf_quant = self.hf_quant_of(variant)
            beside = Config(hf_quant, self.origin) if hf_quant else None
            built = build_model(Config(self.config_of(variant), self.origin), self.name, beside, online=online)
            self._built[key] = replace(built, chat=self.chat(variant), checkpoint=None if online else variant.checkpoint, typed=self.typed or variant.typed)
        return self._built[key]

    def chat(self, variant: Variant) -> ChatFormat | None:
        """How this variant writes tool calls and reasoning; a base model writes neither. None where nobody looked it up."""
        if self.kind in ("embedding", "reranker") or variant.is_base:
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

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT | {"strict": False}
    gpu: str
    rent_per_hour: float | None = None
    buy: float | None = None
    at: str = ""
    """Who asks this price."""
    source: str = ""
    date: str = ""
    """When it was seen: 2026-03-10, or 2026-03; a year alone where its source says no more."""


MachineKind = Literal["consumer", "workstation", "datacenter", "instinct", "whole"]


@dataclass(frozen=True, kw_only=True)
class SizeRow:
    """How many GPUs of a kind a machine has that is rented or sold."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT | {"strict": False}
    kind: MachineKind
    """consumer: GeForce, Radeon, Arc; workstation: cards with GDDR for servers and workstations; datacenter: with HBM; instinct: AMD's with HBM;
    whole: a Mac or another machine that is one GPU."""
    counts: list[int]
    source: str = ""
    date: str = ""


@dataclass(frozen=True, kw_only=True)
class PriceFile:
    """Prices in one currency, what a unit of it is worth in US dollars where it is another one, what a kilowatt hour costs in it, and which sizes machines have."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT | {"strict": False}
    currency: str
    in_usd: float | None = None
    per_kwh: float | None = None
    prices: list[PriceRow] = field(default_factory=list)
    sizes: list[SizeRow] = field(default_factory=list)


def _gib(value: float | None) -> int | None:
    return None if value is None else int(value * GIB)


def merged(base: RowData, own: Mapping[str, object]) -> RowData:
    """The keys of `base` with those of `own` in their place, inside nested objects too."""
    return base | {key: merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value for key, value in own.items()}
