"""What a question fixes of llama-server's own settings, named as its flags; nothing said is left to the plan."""

from __future__ import annotations

from dataclasses import replace

from planner.engines.llamacpp.builds import DEFAULT_BUILD, OLDEST_BUILD, build_number
from planner.engines.llamacpp.ggml import KV_TYPES
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.settings import AUTO, AUTO_SLOTS
from planner.errors import PlannerError
from planner.facts.question import ServiceRow
from planner.facts.record import dataclass

BATCH, UBATCH = 2048, 512  # --batch-size and --ubatch-size where nothing is said (common/common.h)
WIDE_TYPES = ("f16", "bf16", "f32")  # of values that need no flash attention
NAMES = (
    "parallel",
    "kv_unified",
    "batch_size",
    "ubatch_size",
    "flash_attn",
    "cache_type_k",
    "cache_type_v",
    "mmproj",
    "image_max_tokens",
    "engine_version",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPins:
    """Settings that are fixed; None is free. `slots` share one cache where `is_unified`."""

    slots: int | None = None
    is_unified: bool = False
    batch: int | None = None
    ubatch: int | None = None
    flash_attention: bool | None = None
    key_type: str | None = None
    value_type: str | None = None
    projector: bool = True
    image_tokens: int | None = None
    build: int = DEFAULT_BUILD

    def pinned(self, config: LlamaCppConfig) -> LlamaCppConfig:
        """A configuration with what is fixed."""
        slots = self.slots or config.parallel
        config = replace(config, parallel=1, sequences=slots) if self.is_unified else replace(config, parallel=slots)
        ubatch = min(self.ubatch or config.ubatch, self.batch or max(BATCH, self.ubatch or 0))
        flash = config.flash_attention if self.flash_attention is None else self.flash_attention
        config = replace(config, ubatch=ubatch, flash_attention=flash, vision=config.vision and self.projector, image_tokens=self.image_tokens or 0)
        return replace(self.typed(config), build=self.build)

    def typed(self, config: LlamaCppConfig) -> LlamaCppConfig:
        """A configuration with the cache types that are fixed; one of the two leaves the other as it is."""
        keys, values = self.key_type or config.kv_type, self.value_type or config.value_type or config.kv_type
        return replace(config, kv_type=keys, value_type="" if values == keys else values)


def pins_of(service: ServiceRow) -> ServerPins:
    """What a row fixes. Raises PlannerError for what llama-server refuses, or what contradicts itself."""
    is_auto = service.parallel == AUTO
    slots = AUTO_SLOTS if is_auto else _slots(service.parallel)
    if slots and service.users and service.users > slots:
        raise PlannerError(f"--parallel {service.parallel} serves {slots} at once, and --users {service.users} are wished", f"--parallel {service.users}")
    for flag, kind in (("--cache-type-k", service.cache_type_k), ("--cache-type-v", service.cache_type_v)):
        if kind is not None and kind not in KV_TYPES:
            raise PlannerError(f"{flag} {kind[:40]}: no KV cache type of llama.cpp", f"one of {', '.join(KV_TYPES)}")
    values = service.cache_type_v or service.kv_cache_dtype or "f16"
    if service.flash_attn == "off" and values not in (*WIDE_TYPES, AUTO):
        raise PlannerError(f"a V cache of {values} requires flash attention", "--flash-attn on, or --cache-type-v f16")
    return ServerPins(
        slots=slots or service.users if is_auto or service.parallel or service.kv_unified else None,
        is_unified=is_auto or bool(service.kv_unified),
        batch=service.batch_size,
        ubatch=service.ubatch_size,
        flash_attention=None if service.flash_attn in (None, AUTO) else service.flash_attn == "on",
        key_type=service.cache_type_k,
        value_type=service.cache_type_v,
        projector=service.mmproj is not False,
        image_tokens=service.image_max_tokens,
        build=_build(service.engine_version),
    )


def _slots(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 0 < int(text) <= 256:  # src/llama-cparams.h LLAMA_MAX_SEQ
        raise PlannerError(f"--parallel {text[:40]}", "auto, or a number from 1 to 256")
    return int(text)


def _build(name: str | None) -> int:
    try:
        number = build_number(name) if name else DEFAULT_BUILD
    except ValueError as error:
        raise PlannerError(f"--engine-version: {error}") from None
    if number < OLDEST_BUILD:
        raise PlannerError(f"--engine-version {name}: builds before b{OLDEST_BUILD} place layers by other rules", f"b{OLDEST_BUILD} or later")
    return number
