"""What a question fixes of llama-server's own settings, named as its flags; nothing said is left to the plan."""

from __future__ import annotations

import re
from dataclasses import replace

from planner.engines.llamacpp.builds import DEFAULT_BUILD, OLDEST_BUILD, build_number
from planner.engines.llamacpp.by_hand import overrides, uncovered
from planner.engines.llamacpp.ggml import KV_TYPES
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.projector import WARMUP_TOKENS
from planner.engines.llamacpp.settings import AUTO, AUTO_SLOTS
from planner.errors import PlannerError
from planner.facts.question import ServiceRow
from planner.facts.record import dataclass
from planner.facts.settings import Value

BATCH, UBATCH = 2048, 512  # --batch-size and --ubatch-size where nothing is said (common/common.h)
_SHARES = re.compile(r"\d+\.?\d*(?:[,/]\d+\.?\d*)*")
WIDE_TYPES = ("f16", "bf16", "f32")  # of values that need no flash attention
_OWN = (
    "parallel",
    "kv_unified",
    "batch_size",
    "ubatch_size",
    "flash_attn",
    "cache_type_k",
    "cache_type_v",
    "mmproj",
    "image_min_tokens",
    "image_max_tokens",
    "engine_version",
)
BY_HAND = ("device", "split_mode", "main_gpu", "tensor_split", "cpu_moe", "n_cpu_moe", "override_tensor")
DRAFTS = ("spec_type", "spec_draft_n_max", "model_draft", "n_gpu_layers_draft", "cache_type_k_draft", "cache_type_v_draft")
NAMES = (*_OWN, *BY_HAND, *DRAFTS)


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
    least_image: int | None = None
    by_hand: tuple[tuple[str, Value], ...] = ()  # what lies where, and on which cards
    build: int = DEFAULT_BUILD

    def pinned(self, config: LlamaCppConfig) -> LlamaCppConfig:
        """A configuration with what is fixed."""
        slots = self.slots or config.parallel
        config = replace(config, parallel=1, sequences=slots) if self.is_unified else replace(config, parallel=slots)
        ubatch = min(self.ubatch or config.ubatch, self.batch or max(BATCH, self.ubatch or 0))
        flash = config.flash_attention if self.flash_attention is None else self.flash_attention
        config = replace(
            config,
            ubatch=ubatch,
            flash_attention=flash,
            insists_on_flash=bool(self.flash_attention),
            vision=config.vision and self.projector,
            image_tokens=image_tokens(self.least_image, self.image_tokens),
        )
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
    for name in ("cache_type_k", "cache_type_v", "cache_type_k_draft", "cache_type_v_draft"):
        if (kind := getattr(service, name)) is not None and kind not in KV_TYPES:
            raise PlannerError(f"--{name.replace('_', '-')} {kind[:40]}: no KV cache type of llama.cpp", f"one of {', '.join(KV_TYPES)}")
    if service.image_min_tokens and service.image_max_tokens and service.image_min_tokens > service.image_max_tokens:
        raise PlannerError(f"--image-min-tokens {service.image_min_tokens} is above --image-max-tokens {service.image_max_tokens}")
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
        least_image=service.image_min_tokens,
        by_hand=_by_hand(service),
        build=_build(service.engine_version),
    )


def image_tokens(least: int | None, most: int | None) -> int:
    """The tokens of the largest image: what is said, or those of the warm-up where the least is below them; 0 where nothing is said."""
    return most or (max(least, WARMUP_TOKENS) if least else 0)


def _by_hand(service: ServiceRow) -> tuple[tuple[str, Value], ...]:
    """What a row says of where tensors lie. Raises PlannerError for shares that are none, and for a pattern that the ledger does not follow."""
    settings = {name: value for name in BY_HAND if (value := getattr(service, name)) not in (None, False)}
    if (shares := settings.get("tensor_split")) is not None and not (_SHARES.fullmatch(shares) and re.search("[1-9]", shares)):
        raise PlannerError(f"--tensor-split {shares[:40]}: no shares of GPUs", "--tensor-split 3,1")
    if "override_tensor" in settings and (parts := uncovered(settings) or not overrides(settings)):
        what = parts[0].flag if isinstance(parts, list) else "--override-tensor"
        raise PlannerError(f"{what[:80]}: only parts of feed-forward blocks in main memory are planned", "--override-tensor exps=CPU")
    return tuple(settings.items())


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
