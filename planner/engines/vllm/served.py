"""The model as a command serves it: without its towers, without its output head, with a longer or shorter context.

Sources: vLLM 0.33 model_executor/models/interfaces.py _mark_tower_model (since 0.16), models/adapters.py as_embedding_model,
config/model.py _get_and_verify_max_len; transformers' rope parameters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from planner.engines.vllm.pictures import with_pictures
from planner.engines.vllm.versions import VERSIONS
from planner.facts.attention import Attention, FullAttention, SlidingWindow
from planner.facts.model import ModelSpec
from planner.facts.modules import Axis, Linear, Role, Tensor

_TOWERS_LEFT_OUT = 16  # minor release since when a tower of which nothing may come is not loaded
# What their processors take beside pictures (get_supported_mm_limits of model_executor/models/, 0.33); a class that has several by its config has them all.
_FILMS = (
    "ColQwen",
    "Cosmos3For",
    "D3For",
    "DiffusionGemma",
    "Ernie4_5_VL",
    "Exaone4_5",
    "Gemma4",
    "Glm4v",
    "GlmOcr",
    "HCXVisionV2",
    "InternS",
    "InternVL",
    "JinaVL",
    "Keye",
    "KimiK2",
    "LlavaNextVideo",
    "LlavaOnevision",
    "MiniCPM",
    "MiniMaxM3",
    "Molmo2",
    "MuseGlimmer",
    "NemotronH_",
    "OpenPanguVL",
    "OpsColQwen3",
    "Ovis2_",
    "Qwen2VL",
    "Qwen2_5",
    "Qwen3OmniMoe",
    "Qwen3VL",
    "Qwen3_5",
    "Qwen4Exp",
)
_SOUNDS = (
    "AudioFlamingo3",
    "DiffusionGemma",
    "Gemma3n",
    "Gemma4",
    "GlmAsr",
    "GraniteSpeech",
    "MiniCPMO",
    "MoonshotKimia",
    "MossTranscribe",
    "NemotronH_",
    "Phi4MM",
    "Qwen2Audio",
    "Qwen2_5Omni",
    "Qwen3ASR",
    "Qwen3OmniMoe",
    "Ultravox",
    "Voxtral",
    "Whisper",
)
_WINDOWS_OF_THE_CONFIG = (
    "Gemma2For",
    "Gemma3For",
    "GptOss",
    "Exaone4For",
    "Afmoe",
)  # whose layers ask the configuration's sliding_window, which --disable-sliding-window takes away
_LENGTHS = ("rope_scaling", "rope_parameters", "max_position_embeddings", "rope_theta", "max_model_len")
_SCALED_ALREADY = ("su", "longrope", "llama3", "default", "mrope")
_POOLING = ("pooling", "embed", "classify", "reward", "score")
Values = Mapping[str, str | bool]


def as_served(model: ModelSpec, values: Values, version: str) -> ModelSpec:
    """The model with what the flags of a command leave out or change."""
    model = with_pictures(model, values, version)
    if VERSIONS[version].minor >= _TOWERS_LEFT_OUT and takes_text_only(model, values):
        model = replace(model, tower=(), vision=None, bidirectional_images=False)
    if is_pooled(values) and not model.pooling:
        model = replace(model, pooling=True, last=tuple(module for module in model.last if not (isinstance(module, Linear) and module.role is Role.HEAD)))
    if values.get("--disable-sliding-window") and model.architecture.startswith(_WINDOWS_OF_THE_CONFIG):
        model = _without_windows(model)
    changed = overrides(values)
    return _stretched(model, changed, version) if set(changed) & set(_LENGTHS) else model


def _without_windows(model: ModelSpec) -> ModelSpec:
    """The model with whole attention in every layer, whose context ends where its window did."""

    def whole(cache: Attention) -> Attention:
        return FullAttention(kv_heads=cache.kv_heads, head_dim=cache.head_dim, head_dim_v=cache.head_dim_v) if isinstance(cache, SlidingWindow) else cache

    windows = [cache.window for cache in model.caches if isinstance(cache, SlidingWindow)]
    layers = tuple(replace(group, caches=tuple(map(whole, group.caches))) for group in model.layers)
    return replace(model, layers=layers, max_position_embeddings=min(windows, default=model.max_position_embeddings))


def takes_text_only(model: ModelSpec, values: Values) -> bool:
    """Whether no request may bring a picture, a film or sound."""
    if model.vision is None and not model.tower:
        return False
    if values.get("--language-model-only"):
        return True
    return not kinds_taken(model, values)


def kinds_taken(model: ModelSpec, values: Values) -> frozenset[str]:
    """Of a model of more than text, what a request may bring beside it: image, video, audio."""
    said = limits(values)
    kinds = {"image"} | ({"video"} if model.architecture.startswith(_FILMS) else set()) | ({"audio"} if model.architecture.startswith(_SOUNDS) else set())
    return frozenset(kind for kind in kinds if _count(said.get(kind)) != 0)


def limits(values: Values) -> Mapping[str, object]:
    """How many of each kind a prompt may bring, where a command says so: a number, or an object of what is profiled."""
    return _object(values.get("--limit-mm-per-prompt"))


def _count(limit: object) -> object:
    return limit.get("count") if isinstance(limit, dict) else limit


def is_pooled(values: Values) -> bool:
    """Whether a command asks for embeddings or classes of whatever model it names."""
    return values.get("--runner") == "pooling" or values.get("--convert") in _POOLING or values.get("--task") in _POOLING


def overrides(values: Values) -> dict[str, object]:
    """What a command changes of the model's configuration, keys of `text_config` among them; until 0.11 also by flags of their own."""
    changed = _object(values.get("--hf-overrides"))
    inner = changed.pop("text_config", {})
    flags = {"rope_scaling": values.get("--rope-scaling"), "rope_theta": values.get("--rope-theta")}
    return {**{name: value for name, value in flags.items() if value}, **changed, **(inner if isinstance(inner, dict) else {})}


def only_lengths(values: Values) -> bool:
    """Whether the changes are such that weights and cache stay as they are."""
    raw = str(values.get("--hf-overrides", "{}"))
    return isinstance(_parsed(raw), dict) and set(overrides(values)) <= set(_LENGTHS)


def _stretched(model: ModelSpec, changed: Mapping[str, object], version: str) -> ModelSpec:
    """The model with other rope parameters: its longest context, and the rows of its cos/sin table.

    Until 0.29 YaRN's context is its factor times the original; later the checkpoint's own limit holds, which is to have the factor in already.
    """
    plain = _whole(changed.get("max_position_embeddings")) or model.max_position_embeddings
    rope = changed.get("rope_parameters") or changed.get("rope_scaling")
    rope = _parsed(rope) if isinstance(rope, str) else rope
    if not isinstance(rope, dict):
        return with_longest(model, plain, plain)
    kind, factor = rope.get("rope_type", rope.get("type")), rope.get("factor")
    if not isinstance(factor, int | float) or isinstance(factor, bool) or kind in _SCALED_ALREADY:
        return with_longest(model, plain, plain)
    if kind == "yarn":
        rows = int((_whole(rope.get("original_max_position_embeddings")) or plain) * factor)
        return with_longest(model, rows if VERSIONS[version].yarn_scales_length else plain, rows)
    return with_longest(model, int(plain * factor), int(plain * factor))


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def with_longest(model: ModelSpec, limit: int, rows: int) -> ModelSpec:
    """The model with another longest context, and as many rows in its cos/sin table."""
    grown = tuple(_table(buffer, model.max_position_embeddings, rows) for buffer in model.buffers)
    return replace(model, max_position_embeddings=limit, buffers=grown)


def _table(buffer: Tensor, before: int, after: int) -> Tensor:
    rows = buffer.axes[0] if buffer.axes else Axis(0)
    if "cos_sin_cache" not in buffer.name or rows.size != before:
        return buffer
    return replace(buffer, axes=(replace(rows, size=after), *buffer.axes[1:]))


def _object(value: str | bool | None) -> dict[str, object]:
    data = _parsed(value) if isinstance(value, str) else None
    return data if isinstance(data, dict) else {}


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
